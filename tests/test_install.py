"""The installed package: `feedline`, its commands and recipes, and no other top-level name."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import feedline

ROOT = Path(__file__).parents[1]
NOT_OURS = ("pipeline", "model", "training", "convert", "cli", "use", "bench", "train", "recipes")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of this checkout."""
    source, out = tmp_path_factory.mktemp("source") / "feedline", tmp_path_factory.mktemp("wheel")
    leave_out = shutil.ignore_patterns(".*", "data", "runs", "results", "build", "*.egg-info", "*.so", "__pycache__")
    shutil.copytree(ROOT, source, symlinks=True, ignore=leave_out)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", str(out), str(source)], check=True)
    return next(out.glob("feedline-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new environment with the wheel installed; dependencies are found through PYTHONPATH."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, with_pip=False)
    python = environment / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
    return environment / "bin"


def run(*command: str | Path, cwd: Path) -> str:
    borrowed = sysconfig.get_paths()["purelib"]
    env = {**os.environ, "PYTHONPATH": borrowed, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_a_wheel_contains_one_top_level_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {"feedline", f"feedline-{feedline.__version__}.dist-info"}
    stubs = ("model/_kernels.pyi", "pipeline/_kernels.pyi")
    for wanted in ("py.typed", "__main__.py", "recipes/default.toml", *stubs, "convert/build.py"):
        assert f"feedline/{wanted}" in names
    sources = {
        f"feedline/{path.relative_to(ROOT)}"
        for room in ("pipeline", "model", "training", "cli", "convert")
        for path in (ROOT / room).rglob("*.py")
    }
    assert sources <= set(names)


def test_an_installation_works_in_an_empty_environment(installed: Path, tmp_path: Path) -> None:
    program = f"""
import importlib.util
from feedline import Dataset, Loader
import feedline
assert "site-packages" in feedline.__file__, feedline.__file__
left = [name for name in {NOT_OURS!r} if importlib.util.find_spec(name)]
assert not left, left
"""
    run(installed / "python", "-c", program, cwd=tmp_path)
    assert run(installed / "feedline", "--version", cwd=tmp_path) == f"feedline {feedline.__version__}\n"
    assert "--max-size" in run(installed / "feedline", "convert", "--help", cwd=tmp_path)
    assert "--label-smoothing" in run(installed / "feedline", "train", "--help", cwd=tmp_path)


def test_the_commands_convert_and_train(installed: Path, tiny_source: Path, tmp_path: Path) -> None:
    """From images to a trained network, with a recipe from the wheel."""
    feedline_ = installed / "feedline"
    run(feedline_, "convert", "--source", tiny_source, "--out", "tiny", "--workers", "1", cwd=tmp_path)
    flags = ["--data", "tiny", "--recipe", "demo", "--epochs", "1", "--batch-size", "48", "--image-size", "8"]
    out = run(feedline_, "train", "--mode", "train", *flags, "--device", "cpu", "--out", "run", cwd=tmp_path)
    assert "best val top-1" in out
    assert "Linear-" in run(installed / "python", "-m", "feedline", "train", "--mode", "summary", cwd=tmp_path)


def test_packages_with_the_names_of_our_rooms_do_not_clash(installed: Path, tiny_source: Path, tmp_path: Path) -> None:
    (tmp_path / "pipeline.py").write_text("mine = 1\n")
    (tmp_path / "convert.py").write_text("raise RuntimeError('not yours')\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/__init__.py").write_text("mine = 2\n")
    program = """
import model, pipeline
from feedline import Dataset, Loader
batches = list(Loader(Dataset("tiny"), split="official", batch_size=32, threads=1))
assert len(batches) == 3
assert (pipeline.mine, model.mine) == (1, 2)
"""
    run(installed / "feedline", "convert", "--source", tiny_source, "--out", "tiny", "--workers", "1", cwd=tmp_path)
    run(installed / "python", "-c", program, cwd=tmp_path)
