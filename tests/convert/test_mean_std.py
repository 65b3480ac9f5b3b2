"""Mean and standard deviation of the train images."""

import numpy as np
import pytest
from PIL import Image

from feedline import Dataset
from feedline.convert.mean_std import histogram, mean_std


def test_mean_and_std_are_those_of_the_train_images(dataset: Dataset) -> None:
    paths = [dataset.root / dataset.path(i) for i in dataset.ids("official", "train").tolist()]
    pixels = np.stack([np.asarray(Image.open(p).convert("RGB")) for p in paths]).reshape(-1, 3) / 255
    np.testing.assert_allclose(dataset.mean, pixels.mean(0), atol=1e-6)
    np.testing.assert_allclose(dataset.std, pixels.std(0), atol=1e-6)


def test_images_are_weighted_by_their_pixels() -> None:
    small, large = np.zeros((1, 1, 3), dtype=np.uint8), np.full((1, 3, 3), 255, dtype=np.uint8)
    mean, std = mean_std(histogram(small) + histogram(large))
    assert mean == [0.75] * 3
    assert std == pytest.approx([0.433013] * 3)
