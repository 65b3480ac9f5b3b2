import csv
import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.training import checkpoint
from tests.training.conftest import Build, Make, fit_until, same, weights


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_writes_all_its_files(config: Make, trainer: Build, dataset: Dataset) -> None:
    run = trainer(config(epochs=2, tta=True))
    result = run.fit()
    assert sorted(p.name for p in run.out.iterdir()) == [
        "best.pt", "curves.png", "last.pt", "log.jsonl", "metrics.csv", "predictions.npz", "previous.pt", "run.json",
        "summary.json",
    ]  # fmt: skip
    summary = json.loads((run.out / "summary.json").read_text())
    assert summary["best"]["val_top1"] == result["best"]["val_top1"] >= summary["last"]["val_top1"]
    assert summary["images"] == {"train": 96, "val": 32}
    assert summary["dataset"]["fingerprint"] == dataset.fingerprint
    assert summary["config"]["epochs"] == 2
    assert 0 <= summary["stall"] <= 1
    assert summary["images_per_s"] > 0
    assert summary["memory"]["host_mib"] > 100
    rows = list(csv.DictReader((run.out / "metrics.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [r["step"] for r in log_of(run.out)] == [2, 4, 6, 6, 8, 10, 12, 12]
    assert (run.out / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_says_from_its_start_how_it_is_set_up(config: Make, trainer: Build, dataset: Dataset) -> None:
    """run.json is there before the first record; a resumed run writes what it is set up with."""

    def kill(_: Mapping[str, Any]) -> None:
        raise KeyboardInterrupt

    run = trainer(config(epochs=2, store="raw"), on_record=kill)
    with pytest.raises(KeyboardInterrupt):
        run.fit()
    about = json.loads((run.out / "run.json").read_text())
    assert about["steps"] == 12
    assert about["config"]["epochs"] == 2
    assert (about["store"], about["engine"], about["ranks"]) == ("raw", "torch", 1)
    assert about["dataset"]["fingerprint"] == dataset.fingerprint


def test_a_row_logged_before_a_lost_checkpoint_is_not_logged_twice(config: Make, trainer: Build) -> None:
    """Stopped after an epoch's last step, resumed, killed between the epoch's row and its checkpoint, resumed."""
    c = config(epochs=2)
    run = fit_until(trainer, c, "run", 6)
    snapshot = checkpoint.load(run.out / "last.pt")
    assert snapshot.position.step == len(run.train) == 6

    def kill(record: Mapping[str, Any]) -> None:
        if "val_top1" in record:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(c, "run", snapshot, on_record=kill).fit()
    assert [r["step"] for r in log_of(run.out)] == [2, 4, 6, 6]
    trainer(c, "run", snapshot).fit()
    assert [r["step"] for r in log_of(run.out)] == [2, 4, 6, 6, 8, 10, 12, 12]


def test_the_log_has_the_speed_of_the_last_steps_beside_the_mean(config: Make, trainer: Build) -> None:
    """The images between two lines / their seconds, which the means imply. First steps of a session do not count."""
    c = config(epochs=2)
    stopped = fit_until(trainer, c, "run", 8)
    rest = trainer(c, "run", checkpoint.load(stopped.out / "last.pt"))
    rest.fit()
    lines = [r for r in log_of(rest.out) if "val_top1" not in r]
    assert [r["step"] for r in lines] == [2, 4, 6, 8, 10, 12]
    assert lines[0]["images_per_s_last"] == lines[0]["images_per_s"]
    for sessions, (before, line) in (*((1, pair) for pair in pairwise(lines[:4])), (2, (lines[4], lines[5]))):
        seconds = [(r["step"] - sessions) * 16 / r["images_per_s"] for r in (before, line)]
        assert 2 * 16 / line["images_per_s_last"] == pytest.approx(seconds[1] - seconds[0])
    assert lines[4]["images_per_s_last"] > 0


def test_speeds_leave_out_the_steps_in_which_torch_compiles(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hundred seconds in the first step of a size: of the time, but not of the speed."""
    laps = [(100.0, 0.0), *[(1.0, 0.0)] * 3, (0.0, 0.0), (50.0, 0.0), *[(2.0, 0.0)] * 3, (0.0, 0.0)]
    monkeypatch.setattr("feedline.training.loop.LapTimer.lap", lambda _: laps.pop(0))
    run = trainer(config(epochs=2, image_size="16@0,24@1"))
    summary = run.fit()
    lines = [r for r in log_of(run.out) if "val_top1" not in r]
    assert [r["images_per_s_last"] for r in lines] == pytest.approx([16, 32, 32, 8, 16, 16])
    assert summary["images_per_s"] == pytest.approx(160 / 9, abs=0.1)
    assert summary["seconds"]["train"] == 159
    assert summary["seconds"]["first_steps"] == 150
    shown = [line for line in capsys.readouterr().out.splitlines() if " images/s" in line]
    assert "  26.7 images/s (mean 26.7)" in shown[0]
    assert "  13.3 images/s (mean 17.8)" in shown[1]


def test_the_curve_of_the_learning_rate_begins_at_the_first_step(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=1, log_every=4))
    first = run.state.lr
    run.fit()
    assert run.state.position.lrs[0] == (0, first)


def test_on_record_gets_every_record(config: Make, trainer: Build) -> None:
    records: list[Mapping[str, Any]] = []
    run = trainer(config(epochs=1), on_record=records.append)
    run.fit()
    assert records == log_of(run.out)


def test_the_summary_has_the_epoch_that_reached_the_target(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=2, target=1e-3), "low")
    reached = run.fit()["target_reached"]
    assert reached == {"epoch": 1, "seconds": run.state.position.history[0]["seconds"]}
    assert trainer(config(epochs=1, target=100.0), "high").fit()["target_reached"] is None


@pytest.mark.parametrize(
    ("every", "evaluated"), [(1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (4, [4, 5]), (5, [5]), (0, [5])]
)
def test_epochs_without_evaluation(config: Make, trainer: Build, every: int, evaluated: list[int]) -> None:
    """Their rows have no val figures; best, summary and curves are those of the other epochs."""
    run = trainer(config(epochs=5, eval_every=every))
    result = run.fit()
    rows = list(csv.DictReader((run.out / "metrics.csv").open()))
    assert [int(row["epoch"]) for row in rows if row["val_top1"]] == evaluated
    assert all((row["val_loss"] == "") == (row["val_top1"] == "") for row in rows)
    assert all(float(row["train_loss"]) > 0 for row in rows)
    logged = [record for record in log_of(run.out) if "val_top1" in record]
    assert [record["epoch"] for record in logged if record["val_top1"] is not None] == evaluated
    assert result["epochs"] == {"evaluated": evaluated, "skipped": [e for e in range(1, 6) if e not in evaluated]}
    best = max((row for row in rows if row["val_top1"]), key=lambda row: float(row["val_top1"]))
    assert (result["best"]["epoch"], result["best"]["val_top1"]) == (int(best["epoch"]), float(best["val_top1"]))
    assert result["last"]["epoch"] == 5
    assert checkpoint.load(run.out / "best.pt").position.epoch == result["best"]["epoch"]
    assert (run.out / "curves.png").read_bytes()[:4] == b"\x89PNG"


def test_evaluating_seldom_does_not_change_training(config: Make, trainer: Build) -> None:
    often, seldom = trainer(config(epochs=4, ema=0.9), "a"), trainer(config(epochs=4, ema=0.9, eval_every=0), "b")
    figures = [run.fit()["last"] for run in (often, seldom)]
    assert figures[0] == figures[1]
    assert same(weights(often), weights(seldom))


def test_a_run_is_resumed_after_an_epoch_without_evaluation(
    config: Make, trainer: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    c = config(epochs=4, eval_every=3, log_every=1, target=1e-3)
    whole = trainer(c, "whole")
    expected = whole.fit()
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if "not evaluated" in line] == ["1/4", "2/4"]
    part = fit_until(trainer, c, "part", 14)  # in epoch 3
    assert not (part.out / "best.pt").exists()
    rest = trainer(c, "part", checkpoint.load_last(part.out))
    result = rest.fit()
    assert same(weights(rest), weights(whole))
    for key in ("best", "last", "epochs"):
        assert result[key] == expected[key]
    assert result["target_reached"]["epoch"] == expected["target_reached"]["epoch"] == 3
