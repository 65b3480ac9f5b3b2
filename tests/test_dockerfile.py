"""The Dockerfile: there is no Docker here, so what can be read of it is checked."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def lines() -> list[str]:
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_what_it_runs_exists() -> None:
    words = {line.split()[0] for line in lines()}
    assert words <= {"FROM", "RUN", "COPY", "USER", "ENV", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert 'ENTRYPOINT ["feedline"]' in lines()
    assert "feedline = feedline.__main__:main" in (ROOT / "setup.cfg").read_text()


def test_the_image_has_one_python_that_is_supported_and_a_compiler() -> None:
    (image,) = [line for line in lines() if line.startswith("FROM python")]
    version = re.fullmatch(r"FROM python:(3\.\d+)-slim AS compiler", image)
    assert version is not None
    assert f"Python :: {version[1]}\n" in (ROOT / "setup.cfg").read_text()
    others = [line for line in lines() if line.startswith("FROM") and line != image]
    assert all(line.startswith("FROM compiler") for line in others), "a wheel with kernels is for one Python"
    assert "gcc" in lines()[lines().index(image) + 1], "torch.compile needs it on a GPU"


def test_it_does_not_run_as_root() -> None:
    last = lines()[max(i for i, line in enumerate(lines()) if line.startswith("FROM")) :]
    user = next(i for i, line in enumerate(last) if line.startswith("USER"))
    assert last[user] != "USER root"
    assert not [line for line in last[user:] if line.startswith(("RUN", "COPY"))], "nothing is written as that user"


def test_data_and_runs_stay_out_of_the_image() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"data", "runs", ".venv", ".git"} <= set(ignored)
    assert not {"feedline", "pipeline", "recipes", "README.md", "LICENSE"} & set(ignored), "the wheel needs these"
