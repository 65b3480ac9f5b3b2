"""Plots of runs, whatever their datasets are called."""

from pathlib import Path

import pytest

from feedline.training.lr_curve import shown_losses
from feedline.training.plots import curves


@pytest.mark.filterwarnings("error")
def test_a_title_is_no_formula_and_may_hold_any_letter(tmp_path: Path) -> None:
    row = {"epoch": 1, "train_top1": 50.0, "val_top1": 60.0, "train_loss": 1.0, "val_loss": 1.0}
    curves(tmp_path / "curves.png", [row], [(0.0, 0.1), (1.0, 0.0)], "from $5_$ to $9_$ \u4e2d \udcff")
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_range_test_shows_why_it_recommends_nothing() -> None:
    """The whole noise, and where the loss blew up, but not how far; else the fall."""
    smoothed = [2.0, 1.8, 1.5, 1.9]
    losses = [2.1, 1.2, 1.9, 1e30]
    result = {"lr": [1, 2, 3, 4], "loss": losses, "smoothed": smoothed, "suggestions": {"scaled": 2.2, "valley": 4.0}}
    low, high = shown_losses({**result, "recommended": None})
    assert low < 1.2
    assert 4.0 < high < 5.0
    low, high = shown_losses({**result, "recommended": "scaled"})
    assert 1.2 < low < 1.5
    assert 2.0 < high < 2.5
    smoothed[3] = 2.4
    assert shown_losses({**result, "recommended": "valley"})[1] > 2.4, "the rate that is recommended is on the curve"
