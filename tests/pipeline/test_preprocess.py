"""Images outside a dataset are treated as val images are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset, InputError
from feedline.convert import from_dataset
from feedline.pipeline import compiled
from feedline.pipeline.preprocess import Preprocess, read_pixels
from tests.convert.helpers import ODD, save_odd
from tests.pipeline.loading import ENGINES, make_loader


def noise(seed: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Images of many sizes, some smaller than the input."""
    images = [(noise(i, 20 + 7 * i % 50, 24 + 11 * i % 70), i % 2) for i in range(40)]
    return from_dataset(images, tmp_path_factory.mktemp("mixed") / "data", workers=1, progress=False)


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
@pytest.mark.parametrize("size", [16, 40])
def test_a_batch_is_that_of_evaluation_to_the_bit(mixed: Dataset, store: Any, size: int) -> None:
    loader = make_loader(mixed, split="70-30", part="val", store=store, engine="torch", image_size=size, with_ids=True)
    preprocess = Preprocess((size, size), crop_fraction=0.875)
    for images, _, ids in loader:
        paths = [mixed.root / mixed.path(i) for i in ids.tolist()]
        assert torch.equal(preprocess(paths), images)


@pytest.mark.parametrize("size", [(16, 16), (24, 40)])
def test_the_kernel_and_torch_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    images = [noise(i, 20 + 9 * i, 60 - 5 * i) for i in range(8)]
    preprocess = Preprocess(size)
    fast, pixels = preprocess(images), preprocess.pixels(images)
    monkeypatch.setattr(compiled, "kernels", None)
    assert torch.equal(preprocess(images), fast)
    assert np.array_equal(preprocess.pixels(images), pixels)


def test_images_of_the_inputs_size_are_taken_whole(dataset: Dataset) -> None:
    images, _, ids = next(iter(make_loader(dataset, part="val", with_ids=True, engine=ENGINES[-1])))
    preprocess = Preprocess((images.shape[2], images.shape[3]), crop_fraction=1.0)
    assert preprocess([]).shape == (0, *images.shape[1:])
    batch = preprocess([dataset.root / dataset.path(i) for i in ids.tolist()])
    torch.testing.assert_close(batch, images, atol=1e-4, rtol=0)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_every_kind_of_image_is_taken(tmp_path: Path) -> None:
    pixels = noise(3, 30, 20)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    kinds: list[Any] = [tmp_path / "a.png", str(tmp_path / "a.png"), data, Image.open(tmp_path / "a.png"), pixels]
    preprocess = Preprocess((16, 16))
    wanted = preprocess(pixels)
    assert wanted.shape == (1, 3, 16, 16)
    for kind in kinds:
        assert torch.equal(preprocess(kind), wanted)
    assert torch.equal(preprocess(kinds), wanted.repeat(5, 1, 1, 1))


@pytest.mark.parametrize("name", ODD)
def test_an_opened_image_is_what_decoding_makes_of_its_file(tmp_path: Path, name: str) -> None:
    """Turned upright, and the upper 8 bits of 16."""
    save_odd(tmp_path)
    assert np.array_equal(read_pixels(Image.open(tmp_path / name)), read_pixels(tmp_path / name))
    assert read_pixels(tmp_path / name).shape == (20, 10, 3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("missing.jpg", "missing.jpg: cannot be read (No such file"),
        (b"text", "these 4 bytes do not decode"),
        (np.zeros((4, 4, 3)), "an image must be a path, bytes, a PIL image or uint8"),
        (Image.new("F", (4, 4)), "this PIL image does not decode (pixels of 32 bits or signed (mode F)"),
        (np.zeros((4, 4), dtype=np.uint8), r"here uint8 [4, 4]"),
        (3, "an image must be a path"),
    ],
)
def test_what_is_no_image_is_named(image: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Preprocess((8, 8))(image if not isinstance(image, int) else [image])  # type: ignore[list-item]
    assert message in str(caught.value)
