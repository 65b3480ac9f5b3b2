"""The ladder, run on the CPU with the smallest sizes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.ladder import __main__ as ladder
from bench.ladder import compute, runs
from bench.ladder.report import Report
from bench.ladder.settings import Settings
from bench.ladder.tables import table, write_tables
from feedline import Dataset
from feedline.cli.recipes import read_recipe
from tests.training.conftest import small_model


@pytest.fixture
def settings(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(compute, "resnet18", small_model)
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


@pytest.mark.parametrize("rung", ["compute", "together", "assignment-scale"])
def test_rungs_with_a_model(settings: Settings, rung: str) -> None:
    ladder.RUNGS[rung](settings)
    result = read_result(settings, rung)
    assert result["complete"]
    assert not any("problem" in row for row in result["rows"])
    if rung == "compute":
        assert result["best"]["images_per_s"] == max(r["images_per_s"] for r in result["rows"] if "dtype" in r)
        assert result["share_of_matmul"] > 0
    if rung == "together":
        assert [row["store"] for row in result["rows"]] == ["files", "jpeg", "raw"]
        row = result["rows"][0]
        assert row["share_of_model"] == pytest.approx(row["together"] / row["model"])
        assert row["cores_needed"] == pytest.approx(row["cpu_us_per_image"] * row["model"] / 1e6)


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


def test_results_of_tests_are_counted(tmp_path: Path) -> None:
    (tmp_path / "x.xml").write_text(
        '<testsuites><testsuite><testcase classname="t" name="a"/>'
        '<testcase classname="t" name="b"><skipped/></testcase>'
        '<testcase classname="t" name="c"><failure message="1 != 2&#10;more"/></testcase></testsuite></testsuites>'
    )
    assert runs.outcomes(tmp_path / "x.xml") == {"passed": 1, "failed": 1, "skipped": 1, "failures": ["t::c: 1 != 2"]}


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
        (["--rungs", "feed,roof"], "--rungs roof: choose from correct, feed"),
        (["--data", "nowhere"], "no dataset at nowhere"),
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


def test_tables(tmp_path: Path) -> None:
    assert table([{"a": 1234.5, "b": "x"}, {"a": 0.1234, "c": [1, 2]}]).splitlines()[2:] == [
        "| 1,234 | x |  |",
        "| 0.123 |  | 1; 2 |",
    ]
    (tmp_path / "other.json").write_text("{}")
    write_tables(tmp_path)
    assert (tmp_path / "ladder.md").read_text() == "# The ladder\n"
