"""The ladder, run on the CPU with the smallest sizes."""

import dataclasses
import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from bench.ladder import __main__ as ladder
from bench.ladder import compute, profile, runs
from bench.ladder.pictures import write_pictures
from bench.ladder.report import Report
from bench.ladder.settings import Settings
from bench.ladder.tables import table, write_tables
from feedline import Dataset
from feedline.cli.build import make_loader
from feedline.cli.recipes import read_recipe
from feedline.training import compiling
from tests.training.conftest import small_model


@pytest.fixture
def settings(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for module in (compute, profile):
        monkeypatch.setattr(module, "resnet18", small_model)
    monkeypatch.setattr(profile, "STEPS", 4)
    return Settings(tmp_path, dataset.root, minutes=60, device="cpu", tiny=True, seconds=0.02)


def read_result(settings: Settings, rung: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((settings.out / f"{rung}.json").read_text())
    return result


def test_each_row_is_written_to_disk_at_once(tmp_path: Path) -> None:
    report = Report(tmp_path / "x.json", torch.device("cpu"), minutes=1, rung="x")
    seen: list[int] = []

    def measure() -> dict[str, Any]:
        seen.append(len(json.loads((tmp_path / "x.json").read_text())["rows"]))
        return {"v": 1.0}

    report.row(measure, what="a")
    report.row(measure, what="b")
    assert seen == [0, 1]
    assert report.row(lambda: (_ for _ in ()).throw(RuntimeError("no\nkernel")), what="c") is None
    content = json.loads((tmp_path / "x.json").read_text())
    assert content["rows"][2] == {"what": "c", "problem": "no"}
    assert content["complete"] is False
    report.close()
    assert json.loads((tmp_path / "x.json").read_text())["complete"] is True


def test_rows_without_time_are_counted_as_skipped(tmp_path: Path) -> None:
    report = Report(tmp_path / "x.json", torch.device("cpu"), minutes=0)
    assert report.row(lambda: {"v": 1}, what="a") is None
    report.close()
    content = json.loads((tmp_path / "x.json").read_text())
    assert (content["rows"], content["skipped, no time left"], content["complete"]) == ([], 1, False)


def test_feed(settings: Settings) -> None:
    ladder.RUNGS["feed"](settings)
    result = read_result(settings, "feed")
    assert result["complete"]
    assert {row["store"] for row in result["rows"] if "store" in row} == {"files", "jpeg", "raw"}
    assert all(row["images_per_s"] > 0 for row in result["rows"] if "images_per_s" in row)
    assert any(row.get("loader", "").startswith("torchvision DataLoader") for row in result["rows"])
    assert not any("problem" in row for row in result["rows"])
    write_pictures(settings.out)
    assert (settings.out / "feed.png").read_bytes()[:4] == b"\x89PNG"
    assert not (settings.out / "compute.png").exists()


@pytest.mark.parametrize("rung", ["compute", "together", "profile", "assignment-scale"])
def test_rungs_with_a_model(settings: Settings, rung: str) -> None:
    ladder.RUNGS[rung](settings)
    result = read_result(settings, rung)
    assert result["complete"]
    assert not any("problem" in row for row in result["rows"])
    if rung == "compute":
        assert result["best"]["images_per_s"] == max(r["images_per_s"] for r in result["rows"] if "dtype" in r)
        assert result["share_of_matmul"] > 0
    if rung == "profile":
        assert [row["what"] for row in result["rows"]] == [*["first batch and step"] * 2, "alone", "with the loader"]
        assert all(v > 0 for row in result["rows"] for k, v in row.items() if k.endswith(("_s", "_ms")))
    if rung == "together":
        assert [row["store"] for row in result["rows"]] == ["raw", "jpeg", "files"]
        row = result["rows"][0]
        assert row["share_of_model"] == pytest.approx(row["together"] / row["model"])
        assert row["cores_needed"] == pytest.approx(row["cpu_us_per_image"] * row["model"] / 1e6)


def test_kernels_are_told_apart_by_their_names() -> None:
    """As torch's profiler names them on an H100."""
    names = {
        "sm90_xmma_wgrad_indexed_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc": "convolutions",
        "triton_poi_fused__native_batch_norm_legit_functional_convolution_backward_relu_3": "norms, additions, ReLU",
        "void at::native::(anonymous namespace)::multi_tensor_apply_kernel<at::native::FusedSgdMath": "optimizer",
        "void dali::kernels::slice_flip_normalize::Hwc2HwcN": "loader",
        "Memcpy HtoD (Pinned -> Device)": "copies",
        "void (anonymous namespace)::softmax_warp_forward<float>": "others",
        "## Call CompiledFxGraph fjlnt5delql3 ##": None,
        "Optimizer.step#SGD.step": None,
    }
    sums = profile.by_kind([(name, 2.0**k) for k, name in enumerate(names)])
    assert sums == {kind: 2.0**k for k, kind in enumerate(names.values()) if kind}


def test_a_way_of_searching_is_for_one_measurement(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is shorter by what was asked, and torch's own way is back behind it."""
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    fewer, lengths = 6, list[int]()
    config = settings.config(device="cpu")
    with closing(make_loader(config, Dataset(settings.data), "train", settings.on)) as loader:
        row = profile._searched((3, False), loader, 0, lambda _, labels: lengths.append(len(labels)), fewer)
    assert lengths == [loader.batch_size - fewer] * (2 + profile.LATER)
    assert row["step_s"] > 0
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit) == (True, 10)


def test_rows_say_how_they_are_compiled(settings: Settings) -> None:
    """As torch is told on a GPU: what a run would choose by itself has a name of its own too."""
    for name, changed in compute.COMPILED.items():
        config = settings.config(**changed)
        assert bool(config.run.compiled) is (name != "eager")
        assert name in ("eager", compiling.mode(config, torch.device("cuda")))


def test_every_combination_is_tried_once_and_can_be_configured(settings: Settings) -> None:
    tried = list(compute.combinations(settings))
    assert len({tuple(row.items()) for row in tried}) == len(tried)
    for row in tried:
        config = settings.config(**compute.changes(row))
        assert config.loader.batch_size == row["batch_size"]
        assert config.run.amp is (row["dtype"] != "float32")


def test_the_mode_that_may_take_all_the_time_comes_last(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "on", torch.device("cuda"))
    modes = [row["compile"] for row in compute.combinations(settings)]
    assert modes[0] == "eager"
    first = modes.index("max-autotune")
    assert set(modes[first:]) == {"max-autotune"}
    assert len(modes[:first]) == 3 * len(modes[first:])


TESTS = """
import os, pytest
def test_agree_a(): pass
def test_agree_b(): raise ValueError("1 != 2")
@pytest.mark.skip
def test_agree_c(): pass
def test_agree_d(missing): pass
def test_agree_e():
    if {crashes}: os._exit(9)
"""


def run_tests(settings: Settings, patch: pytest.MonkeyPatch, crashes: bool) -> dict[str, Any]:
    """Runs the first rung on five tests, in place of ours; `pytest.mark.gpu` stands in the file."""
    root = settings.out / "repository"
    (root / "tests").mkdir(parents=True, exist_ok=True)
    (root / "tests/test_x.py").write_text("# pytest.mark.gpu\n" + TESTS.format(crashes=crashes))
    (root / "tests/test_y.py").write_text("# pytest.mark.gpu\nimport no_such_module\n")
    patch.setenv("PYTHONPATH", str(runs.ROOT))
    patch.setattr(runs, "ROOT", root)
    runs.run_correct(settings)
    (row,) = read_result(settings, "correct")["rows"]
    return dict(row)


def test_outcomes_of_tests_are_kept_as_they_come(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last test ends the process, and one file cannot be imported. Going on runs what did not pass."""
    with monkeypatch.context() as patch:
        row = run_tests(settings, patch, crashes=True)
    assert (row["passed"], row["failed"], row["skipped"], row["finished"]) == (1, 3, 1, False)
    reasons = " ".join(row["failures"])
    for part in ("test_agree_b: ValueError: 1 != 2", "fixture 'missing' not found", "no_such_module"):
        assert part in reasons
    with monkeypatch.context() as patch:
        row = run_tests(dataclasses.replace(settings, go_on=True), patch, crashes=False)
    assert (row["passed"], row["failed"], row["skipped"], row["finished"]) == (2, 3, 1, True)
    assert "1 deselected" in (settings.out / "correct.log").read_text()


def test_going_on_keeps_what_was_measured_to_the_end(tmp_path: Path) -> None:
    """On such a machine, with the same software and dataset."""

    def climb(go_on: bool, dataset: str = "a") -> list[str]:
        report = Report(
            tmp_path / "x.json", torch.device("cpu"), minutes=1, go_on=go_on, rung="x", tiny=False, dataset=dataset
        )
        measured: list[str] = []

        def measure(name: str) -> dict[str, Any]:
            measured.append(name)
            if name == "broken" and len(measured) == 2:
                raise KeyError("no such thing")
            return {"v": 1.5, "finished": name != "cut"}

        for name in ("whole", "broken", "cut"):
            row = report.row(lambda name=name: measure(name), what=name)  # type: ignore[misc]
            assert row is None or row["what"] == name
        report.close()
        return measured

    assert climb(go_on=False) == ["whole", "broken", "cut"]
    rows = json.loads((tmp_path / "x.json").read_text())["rows"]
    assert [row.get("problem") for row in rows] == [None, "'no such thing'", None]
    assert climb(go_on=True) == ["broken", "cut"]
    assert climb(go_on=True, dataset="b") == ["whole", "broken", "cut"]


def test_recipes_for_cpus_come_last_on_a_gpu(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(runs.chosen_recipes(settings)) == list(runs.targets())
    chosen = dataclasses.replace(settings, recipes=("fast", "cpu"))
    assert list(runs.chosen_recipes(chosen)) == ["fast", "cpu"]
    monkeypatch.setattr(Settings, "on", torch.device("cuda"))
    assert next(iter(runs.chosen_recipes(settings))) == "assignment"
    assert set(list(runs.chosen_recipes(settings))[-2:]) == {"cpu", "cpu-best"}


def test_progress_to_the_target_of_a_recipe() -> None:
    targets = runs.targets()
    assert {"assignment", "cpu", "cpu-best", "default", "fast", "strong", "best"} == set(targets)
    assert targets["assignment"] == read_recipe("assignment")["target"] == 49.22
    rows = [
        {"epoch": e, "val_top1": top1, "seconds": 10.0 * e, "images_per_s": 5.0, "stall": 0.0}
        for e, top1 in enumerate([20, 51, 49], start=1)
    ]
    result = runs.progress(rows, 50)
    assert (result["final_top1"], result["best_top1"], result["seconds_to_target"], result["epochs_to_target"]) == (
        49,
        51,
        20,
        2,
    )
    assert runs.progress(rows, 60)["seconds_to_target"] is None
    assert runs.progress([], 50) == {"epochs": 0}


def test_a_row_of_other_flags_is_another_row(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_train", lambda settings, *_: {"trained": settings.flags})
    for flags in ("--compile", "", "--compile"):
        changed = dataclasses.replace(settings, recipes=("fast",), flags=flags, go_on=True)
        runs.run_accuracy(changed)
    assert [row["trained"] for row in read_result(settings, "accuracy")["rows"]] == ["--compile", ""]


HELD = """
import os, sys
sys.path.insert(0, {root!r})
os.environ["SMALL_HOLD"] = "2:{held}"
from tests import small_train
sys.exit(small_train.main())
"""


def test_training_stops_when_its_time_is_up(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training waits in its second step, so that it cannot finish earlier."""
    (tmp_path / "train.py").write_text(HELD.format(root=str(runs.ROOT), held=tmp_path))
    monkeypatch.setattr(runs, "ROOT", tmp_path)
    result = runs._train(settings, "assignment", 3.0)
    assert result["finished"] is False
    assert not list((settings.out / "accuracy-assignment").glob("*.pt"))


def test_the_command_runs_a_rung_in_a_process(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--out", str(tmp_path), "--data", str(dataset.root), "--device", "cpu", "--tiny", "--seconds", "0.02"]
    assert ladder.main([*argv, "--rungs", "correct", "--minutes", "60"]) == 0
    result = json.loads((tmp_path / "correct.json").read_text())
    (row,) = result["rows"]
    assert row["passed"] > 0
    assert row["failed"] == 0
    text = (tmp_path / "ladder.md").read_text()
    assert "## correct" in text
    assert "no GPU" in text
    assert "tables: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--rungs", ""], "--rungs: its value is empty; choose from correct, feed"),
        (["--rungs", "feed,roof"], "--rungs roof: choose from correct, feed"),
        (["--data", "nowhere"], "no dataset at "),
        (["--recipes", "slow"], "--recipes slow: choose from assignment, best"),
    ],
)
def test_wrong_input_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert ladder.main(["--out", str(tmp_path), *argv]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]


def test_a_rung_that_hangs_is_killed(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    popen, hang = subprocess.Popen, [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(subprocess, "Popen", lambda _, **options: popen(hang, **options))
    monkeypatch.setattr(ladder, "GRACE", 1.0)
    argv = ["--out", str(tmp_path), "--data", str(dataset.root), "--device", "cpu", "--tiny"]
    assert ladder.main([*argv, "--rungs", "compute,feed", "--minutes", "0.01"]) == 1
    out = capsys.readouterr().out
    assert "compute: exit status -9" in out
    assert "feed: no time left" in out


def test_a_ladder_that_is_stopped_ends_its_rung(dataset: Dataset, tmp_path: Path) -> None:
    """The rung has a session of its own, so that a shell would not end it."""
    argv = ["--out", str(tmp_path), "--data", str(dataset.root), "--device", "cpu", "--rungs", "compute"]
    process = subprocess.Popen([sys.executable, "-m", "bench.ladder", *argv], cwd=runs.ROOT)
    rung = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while not (tmp_path / "compute.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    (child,) = map(int, rung.read_text().split())
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert "## compute (not complete)" in (tmp_path / "ladder.md").read_text()


def test_tables(tmp_path: Path) -> None:
    assert table([{"a": 1234.5, "b": "x"}, {"a": 0.1234, "c": [1, 2]}]).splitlines()[2:] == [
        "| 1,234 | x |  |",
        "| 0.123 |  | 1; 2 |",
    ]
    (tmp_path / "other.json").write_text("{}")
    write_tables(tmp_path)
    assert (tmp_path / "ladder.md").read_text() == "# The ladder\n"
