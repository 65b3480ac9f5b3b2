from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import refused, run
from tests.conftest import convert


def test_a_checkpoint_of_another_dataset(
    dataset: Dataset, varied: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    other = convert(varied.root / "train", tmp_path / "other", "--packs", "")
    line = refused(capsys, "--mode", "eval", "--data", str(other.root), "--checkpoint", "runs/a/best.pt")
    assert "runs/a/best.pt: was trained on another dataset (4 classes" in line
    line = refused(capsys, "--mode", "eval", "--data", str(other.root))
    assert "no run with a best.pt in runs" in line


def test_eval_takes_the_latest_readable_checkpoint(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    Path("runs/b").mkdir()
    Path("runs/b/best.pt").write_bytes(b"cut off")
    assert run("eval", dataset) == 0
    assert "runs/a/best.pt: top-1" in capsys.readouterr().out
