import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.training import checkpoint
from tests.training.conftest import Build, Make, fit_until


def log_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_a_run_writes_all_its_files(config: Make, trainer: Build, dataset: Dataset) -> None:
    run = trainer(config(epochs=2, tta=True))
    result = run.fit()
    assert sorted(p.name for p in run.out.iterdir()) == [
        "best.pt", "curves.png", "last.pt", "log.jsonl", "metrics.csv", "previous.pt", "summary.json"
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
