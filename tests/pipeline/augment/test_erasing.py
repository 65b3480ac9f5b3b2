import numpy as np
import pytest

from feedline.pipeline.augment import Erasing
from tests.pipeline.augment.drawing import draw


def test_boxes_lie_inside_and_have_the_asked_share_area_and_ratio() -> None:
    (edit,) = Erasing(p=0.25, scale=(0.1, 0.2), ratio=(0.5, 2)).edits(draw(20_000, 64, 64), (200, 100))
    assert edit.erase is not None
    y, x, height, width = edit.erase.astype(float).T
    erased = height > 0
    assert (erased == (width > 0)).all()
    assert erased.mean() == pytest.approx(0.25, abs=0.02)
    assert ((y >= 0) & (x >= 0) & (y + height <= 200) & (x + width <= 100)).all()
    area, ratio = (height * width / 20_000)[erased], (height[erased] / width[erased])
    assert 0.098 < area.min() < 0.103
    assert 0.197 < area.max() < 0.203
    assert area.mean() == pytest.approx(0.15, abs=0.002)
    assert 0.48 < ratio.min() < 0.53
    assert 1.9 < ratio.max() < 2.1
    assert (np.log(ratio) > 0).mean() == pytest.approx(0.5, abs=0.03)


def test_a_box_longer_than_the_image_is_cut_off() -> None:
    (edit,) = Erasing(p=1, scale=(0.9, 0.9), ratio=(100, 100)).edits(draw(100, 8, 8), (20, 10))
    assert edit.erase is not None
    assert set(map(tuple, edit.erase[:, [0, 2, 3]].tolist())) == {(0, 20, 1)}


def test_no_share_erases_nothing() -> None:
    (edit,) = Erasing(p=0).edits(draw(1000, 8, 8), (8, 8))
    assert edit.erase is not None
    assert not edit.erase.any()
