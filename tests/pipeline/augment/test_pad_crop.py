import numpy as np
import pytest

from feedline import InputError
from feedline.pipeline.augment import PadCrop, resolve_training
from tests.pipeline.augment.drawing import draw


def test_windows_have_the_images_size_and_uniform_shifts() -> None:
    window = PadCrop(4).windows(draw(81 * 200, 64, 64), (64, 64))
    assert set(map(tuple, window[:, 2:].tolist())) == {(64, 64)}
    counts = np.bincount((window[:, 0] + 4) * 9 + window[:, 1] + 4, minlength=81)
    assert len(counts) == 81
    assert ((counts - 200) ** 2 / 200).sum() < 80 + 5 * np.sqrt(160)


def test_the_padding_is_the_largest_shift() -> None:
    window = PadCrop(2).windows(draw(500, 10, 20), (10, 20))
    assert set(map(tuple, window[:, 2:].tolist())) == {(10, 20)}
    assert np.unique(window[:, 0]).tolist() == np.unique(window[:, 1]).tolist() == [-2, -1, 0, 1, 2]
    assert PadCrop(2).window_size((10, 20), (32, 64)) == (10, 20), "the window is resized afterwards"


def test_without_padding_nothing_is_shifted() -> None:
    crop = PadCrop(0)
    assert crop.inside
    assert np.unique(crop.windows(draw(50, 8, 9), (8, 9)), axis=0).tolist() == [[0, 0, 8, 9]]
    assert not PadCrop(1).inside


@pytest.mark.parametrize("padding", [-1, 10**6, 10**30])
def test_a_wrong_padding_is_refused(padding: int) -> None:
    with pytest.raises(InputError, match=rf"augment=pad-crop:{padding}: the padding must be at least 0"):
        PadCrop(padding)


def test_a_padding_that_leaves_no_image_is_refused() -> None:
    """A window outside of the image would be all zeros."""
    for image in ((64, 40), None):
        resolve_training(["pad-crop:39"], image, (40, 40))
        with pytest.raises(InputError, match=r"pad-crop:40: the padding must be below .* 40 pixels"):
            resolve_training(["pad-crop:40"], image, (40, 40))
