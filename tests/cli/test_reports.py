"""The reports that training and evaluation leave."""

from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import run


def test_a_run_and_an_evaluation_leave_a_report(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--out", "runs/a", "--max-lr", "0.02") == 0
    assert "report: runs/a/report.html" in capsys.readouterr().out
    page = Path("runs/a/report.html").read_text()
    for text in ("recipe demo", "Confusions", "Most wrong", "Calibration", "learning rate", "max-lr", "--max-lr 0.02"):
        assert text in page
    assert "changed" in page
    assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", "--out", "e") == 0
    assert "report: e/report.html" in capsys.readouterr().out
    assert "top-1 on 32 images" in Path("e/report.html").read_text()
