"""Mean and standard deviation of the train images."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline import Dataset, Loader
from feedline.convert.mean_std import Histogram, histogram, mean_std
from tests.conftest import convert


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


def test_a_constant_channel_has_no_deviation_and_becomes_zero(tmp_path: Path) -> None:
    """Whatever its value and however many images there are: with sums of floats the variance can be below 0."""
    rng = np.random.default_rng(0)
    for i in range(14):
        pixels = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8)
        pixels[..., 1] = 77
        path = tmp_path / "source" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    dataset = convert(tmp_path / "source", tmp_path / "out")
    assert json.loads((dataset.root / "dataset.json").read_text())["std"][1] == 0
    assert dataset.std[1] == 1
    loader = Loader(dataset, part="val", batch_size=2, mean=dataset.mean, std=dataset.std, engine="torch", device="cpu")
    images, _ = next(iter(loader))
    assert abs(images[:, 1]).max() < 1e-5
    assert abs(images[:, 0]).max() > 0.5


@pytest.mark.parametrize("value", range(0, 256, 5))
def test_no_value_makes_a_negative_variance(value: int) -> None:
    _, std = mean_std(1_000_003 * histogram(np.full((3, 1, 3), value, dtype=np.uint8)))
    assert std == [0.0] * 3


def test_images_counted_together_give_the_sum_of_their_histograms() -> None:
    rng = np.random.default_rng(0)
    shapes = [(1, 1), (64, 64), (700, 900), (3, 5), (64, 64), (500, 2)]
    images = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes * 30]
    together = Histogram()
    for image in images:
        together.add(image)
    wanted = sum(histogram(image) for image in images)
    assert np.array_equal(together.total(), wanted)
    together.add(images[0])
    assert np.array_equal(together.total(), wanted + histogram(images[0]))
    assert not Histogram().total().any()
