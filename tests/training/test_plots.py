"""Plots of runs, whatever their datasets are called."""

from pathlib import Path

import pytest

from feedline.training.plots import curves


@pytest.mark.filterwarnings("error")
def test_a_title_is_no_formula_and_may_hold_any_letter(tmp_path: Path) -> None:
    row = {"epoch": 1, "train_top1": 50.0, "val_top1": 60.0, "train_loss": 1.0, "val_loss": 1.0}
    curves(tmp_path / "curves.png", [row], [(0.0, 0.1), (1.0, 0.0)], "from $5_$ to $9_$ \u4e2d")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]
