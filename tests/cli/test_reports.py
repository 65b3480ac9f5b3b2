"""The reports that training and evaluation leave."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from feedline import Dataset
from feedline.report import charts
from feedline.report.page import Picture
from feedline.training.checkpoint import WRITTEN
from feedline.training.step import TrainStep
from tests.cli.commands import run, train


def test_a_run_and_an_evaluation_leave_a_report(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--out", "runs/a", "--max-lr", "0.02") == 0
    assert "report: runs/a/report.html" in capsys.readouterr().out
    page = Path("runs/a/report.html").read_text()
    for text in ("recipe demo", "Confusions", "Most wrong", "Calibration", "learning rate", "max-lr", "--max-lr 0.02"):
        assert text in page
    assert "of the recipe" in page
    assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", "--out", "e") == 0
    assert "report: e/report.html" in capsys.readouterr().out
    assert "top-1 on 32 images" in Path("e/report.html").read_text()


def test_the_report_draws_the_rate_of_steps_that_were_not_logged(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, Any] = {}

    def lines(title: str, series: Any, *rest: Any, **options: Any) -> Any:
        drawn[title] = series
        return charts.lines(title, series, *rest, **options)

    monkeypatch.setattr("feedline.report.run.charts", SimpleNamespace(lines=lines))
    assert run("train", dataset, "--out", "runs/a", "--log-every", "1000") == 0
    steps = json.loads(Path("runs/a/run.json").read_text())["steps"]
    assert len(drawn["learning rate"]["learning rate"]) == steps > 2


def test_the_report_shows_training_images_and_what_the_build_found(dataset: Dataset) -> None:
    assert run("train", dataset, "--out", "runs/a") == 0
    page = Path("runs/a/report.html").read_text()
    assert page.count('<img src="data:image/png;base64,') == 8, "a batch has eight images"
    assert "groups of identical images" in page
    assert "Where the learning rate is from" not in page
    for name, images in (("train_batch.png", 8), ("val_batch.png", 16)):
        rows = Image.open(Path("runs/a") / name).height // 200
        assert rows == images / 4, "four images in a row"


def test_an_evaluation_leaves_matrices(dataset: Dataset) -> None:
    assert run("train", dataset, "--out", "runs/a") == 0
    assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", "--out", "e") == 0
    for name in ("confusion_matrix.png", "confusion_matrix_normalized.png"):
        assert Image.open(Path("e") / name).width > 400


def test_a_rate_from_a_range_test_comes_with_its_curve(dataset: Dataset) -> None:
    assert run("lrfind", dataset, "--out", "runs/test") == 0
    result = json.loads(Path("runs/test/lr_range.json").read_text())
    page = Path("runs/test/report.html").read_text()
    assert "LR range test" in page
    assert result["stopped"] in page
    if result["recommended"] is None:
        result |= {"recommended": "valley", "suggestions": {"valley": 0.02}}
        Path("runs/test/lr_range.json").write_text(json.dumps(result))
    assert run("train", dataset, "--max-lr", "auto", "--out", "runs/a") == 0
    assert json.loads(Path("runs/a/run.json").read_text())["max_lr_from"] == "runs/test/lr_range.json"
    assert "Where the learning rate is from" in Path("runs/a/report.html").read_text()
    assert "runs/test/lr_range.json" in Path("runs/a/report.html").read_text()


def test_the_files_of_a_run_are_known_where_a_killed_one_is_cleared(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: set[str] = set()
    replace = Path.replace

    def record(path: Path, target: Path) -> Path:
        written.update([path.stem] if path.parent == Path("runs/a") else [])
        return replace(path, target)

    assert run("lrfind", dataset, "--end-lr", "1", "--out", "runs/test") == 0
    result = json.loads(Path("runs/test/lr_range.json").read_text())
    result |= {"recommended": "valley", "suggestions": {"valley": 0.02}}
    Path("runs/test/lr_range.json").write_text(json.dumps(result))
    monkeypatch.setattr(Path, "replace", record)
    assert run("train", dataset, "--max-lr", "auto", "--save-every", "1", "--out", "runs/a") == 0
    assert len(written) > 9
    assert written <= WRITTEN


def stop_in_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    step, steps = TrainStep.__call__, []

    def stopping(self: TrainStep, *batch: Any) -> Any:
        steps.append(1)
        if len(steps) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *batch)

    monkeypatch.setattr(TrainStep, "__call__", stopping)


def test_a_run_that_is_stopped_leaves_a_report(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_in_step(14, monkeypatch)
    assert run("train", dataset, "--out", "runs/a", "--max-lr", "0.02", "--log-every", "2") == 128 + signal.SIGTERM
    page = Path("runs/a/report.html").read_text()
    assert "Not complete" in page
    assert "--resume runs/a" in page


def test_a_new_run_shows_nothing_of_an_earlier_one(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which was not complete, and whose checkpoints were removed to make room."""
    assert run("train", dataset, "--out", "runs/a", "--max-lr", "0.02") == 0
    for path in [*Path("runs/a").glob("*.pt"), Path("runs/a/summary.json")]:
        path.unlink()
    Path("runs/a/max_lr_from.json").write_text("{}")
    stop_in_step(3, monkeypatch)
    assert run("train", dataset, "--out", "runs/a", "--max-lr", "0.02") == 128 + signal.SIGTERM
    page = Path("runs/a/report.html").read_text()
    assert "No epoch was finished." in page
    assert "Confusions" not in page
    for name in ("summary.json", "metrics.csv", "predictions.npz", "max_lr_from.json"):
        assert not Path("runs/a", name).exists()


def test_an_image_is_not_right_because_classes_share_a_name(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []

    def keep(out: Path, pictures: list[Picture], title: str) -> None:
        notes.extend(picture.note for picture in pictures)

    monkeypatch.setattr("feedline.cli.seen.class_name", lambda info: "crane")
    monkeypatch.setattr("feedline.cli.reports.class_name", lambda info: "crane")
    monkeypatch.setattr("feedline.cli.reports.save_sheet", keep)
    assert run("train", dataset, "--out", "runs/a", "--max-lr", "1e-9") == 0
    assert "taken for crane" in notes


def test_a_resumed_run_leaves_a_report_without_its_recipe(dataset: Dataset) -> None:
    """Only the checkpoint says what the recipe was: its file may have been removed."""
    mine = Path("my.toml")
    mine.write_text("batch-size = 8\nimage-size = 16\nepochs = 2\nlog-every = 3\n")
    flags = ["--data", str(dataset.root), "--recipe", "my.toml", "--max-lr", "0.01", "--out", "runs/a"]
    assert train("--mode", "train", *flags) == 0
    Path("runs/a/report.html").unlink()
    Path("runs/a/summary.json").unlink()
    mine.unlink()
    assert train("--mode", "train", "--resume", "runs/a/previous.pt") == 0
    page = Path("runs/a/report.html").read_text()
    assert "of the recipe" in page
    assert "max-lr" in page


def test_a_run_that_diverges_leaves_a_report(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--out", "runs/a", "--optimizer", "adam", "--max-lr", "1e30", "--log-every", "2") == 2
    assert "is not finite" in capsys.readouterr().err
    page = Path("runs/a/report.html").read_text()
    assert "is not finite" in page
    assert "--mode peek" in page


def test_a_benchmark_leaves_a_report(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", dataset, "--out", "b", "--rounds", "1", "--seconds", "0.01", "--engine", "torch") == 0
    assert "report: b/report.html" in capsys.readouterr().out
    page = Path("b/report.html").read_text()
    assert json.loads(Path("b/bench.json").read_text())["verdict"].splitlines()[0] in page
    assert "loader raw torch" in page
