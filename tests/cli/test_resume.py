import pytest

from feedline import Dataset
from tests.cli.commands import QUICK, refused, run


def test_a_resumed_run_keeps_its_settings(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    assert "this run is complete" in refused(capsys, "--mode", "train", "--resume", "runs/a")
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--epochs", "5")
    assert "--epochs 5: the run was started with 1" in line
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *QUICK, "--out", "runs/a")
    assert "holds a run already; resume it with --resume runs/a" in line
