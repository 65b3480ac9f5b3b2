import json
from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import QUICK, refused, run, train


def test_a_resumed_run_keeps_its_settings(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    assert "this run is complete" in refused(capsys, "--mode", "train", "--resume", "runs/a")
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--certify", "pixels")
    assert "this run is complete" in line, "what is certified may change"
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--epochs", "5")
    assert "--epochs 5: the run was started with 1" in line
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "runs/a")
    assert "holds a run already; resume it with --resume runs/a" in line


def test_a_trapezoid_can_be_resumed_with_other_epochs_before_its_fall(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--schedule", "trapezoid", "--peak-epoch", "1", "--log-every", "1"]
    assert run("train", dataset, *shape, "--epochs", "2", "--cooldown", "0", "--out", "runs/a") == 0
    longer = ["--epochs", "4", "--cooldown", "0.5"]
    assert train("--mode", "train", "--resume", "runs/a", *longer) == 0
    assert run("train", dataset, *shape, *longer, "--out", "runs/b") == 0
    resumed, planned = (rates(Path("runs") / name) for name in "ab")
    assert resumed == planned
    assert len(planned) == 4 * 12
    assert planned[-1] < planned[24] == max(planned)
    line = refused(capsys, "--mode", "train", "--resume", "runs/a/last.pt", "--epochs", "5")
    assert "--epochs 5: the run was started with 4" in line, "the fall has been"


def rates(run: Path) -> list[float]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["lr"] for record in records if "val_top1" not in record]
