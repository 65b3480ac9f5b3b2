import numpy as np
import pytest

from feedline import InputError
from feedline.pipeline.augment import RandomResizedCrop
from tests.pipeline.augment.drawing import draw


def test_windows_lie_inside_and_have_the_asked_area_and_ratio() -> None:
    y, x, h, w = RandomResizedCrop().windows(draw(4096, 90, 120), (32, 32)).T.astype(float)
    assert (y >= 0).all()
    assert (x >= 0).all()
    assert (y + h <= 90).all()
    assert (x + w <= 120).all()
    share = h * w / (90 * 120)
    assert 0.07 < share.min() < 0.1
    assert share.max() > 0.9
    # Sides are rounded to pixels, so the ratio of a small window may be slightly out of bounds.
    assert (w / h).min() > 0.75 - 0.03
    assert (w / h).max() < 4 / 3 + 0.06


def test_scale_and_ratio_are_used() -> None:
    _, _, h, w = RandomResizedCrop(scale=(0.1, 0.3), ratio=(2, 2)).windows(draw(2000, 400, 400), (8, 8)).T
    assert np.abs(w - 2 * h).max() <= 2
    share = h * w / 400**2
    assert 0.09 < share.min() < 0.11
    assert 0.29 < share.max() < 0.31


def test_the_fallback_is_the_centre_with_the_nearest_ratio() -> None:
    """As in torchvision. 100x10 pixels have no window of ratio 1 that covers half of them."""
    crop = RandomResizedCrop(scale=(0.5, 1), ratio=(1, 1))
    assert np.unique(crop.windows(draw(30, 100, 10), (8, 8)), axis=0).tolist() == [[45, 0, 10, 10]]


def test_its_windows_vary_in_size() -> None:
    assert RandomResizedCrop().window_size((64, 64), (32, 32)) is None
    assert RandomResizedCrop.inside


@pytest.mark.parametrize("scale", [(0, 1), (0.5, 0.4), (0.5, 1.1), (-1, 1), (float("nan"), 1)])
def test_a_wrong_scale_is_refused(scale: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"augment=random-resized-crop: the scale must be a range in 0\.\.1"):
        RandomResizedCrop(scale=scale)


@pytest.mark.parametrize("ratio", [(0, 1), (2, 1), (-1, 1), (1, float("nan")), (1, float("inf")), (1e-9, 1)])
def test_a_wrong_ratio_is_refused(ratio: tuple[float, float]) -> None:
    with pytest.raises(InputError, match=r"augment=random-resized-crop: the ratio must be a range in 0\.01"):
        RandomResizedCrop(ratio=ratio)
