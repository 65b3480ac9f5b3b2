"""The resizing kernel gives torch's bytes."""

import ctypes
import mmap
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from feedline import Dataset
from feedline.pipeline.resizer import Resizer
from tests.pipeline.loading import make_loader

pytestmark = pytest.mark.usefixtures("needs_kernels")


def by_torch(image: NDArray[np.uint8], window: Any, flip: bool, output: tuple[int, int]) -> torch.Tensor:
    y, x, h, w = window
    planes = torch.from_numpy(np.ascontiguousarray(image[y : y + h, x : x + w])).permute(2, 0, 1)[None]
    resized = interpolate(planes, output, mode="bilinear", antialias=True)[0].permute(1, 2, 0)
    return resized.flip(1) if flip else resized


def resized(images: list[NDArray[np.uint8]], windows: Any, flips: Any, resizer: Resizer, out: Any) -> Any:
    addresses = np.array([image.ctypes.data for image in images], dtype=np.uint64)
    sizes = np.array([image.shape[:2] for image in images], dtype=np.int32)
    resizer(addresses, sizes, np.array(windows, dtype=np.int32), np.array(flips, dtype=bool), out)
    return torch.from_numpy(out)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_window_to_any_size(data: st.DataObject) -> None:
    side = st.integers(1, 90)
    output = data.draw(side), data.draw(side)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    images, windows, flips = [], [], []
    for _ in range(3):
        height, width = data.draw(side), data.draw(side)
        h, w = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
        windows.append((data.draw(st.integers(0, height - h)), data.draw(st.integers(0, width - w)), h, w))
        images.append(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        flips.append(data.draw(st.booleans()))
    out = np.zeros((3, *output, 3), dtype=np.uint8)
    got = resized(images, windows, flips, Resizer(output), out)
    for image, window, flip, pixels in zip(images, windows, flips, got, strict=True):
        assert torch.equal(pixels, by_torch(image, window, flip, output))


@pytest.mark.parametrize(
    ("size", "output"), [((500, 375), (224, 224)), ((40, 30), (300, 200)), ((1200, 900), (64, 64))]
)
def test_photos(size: tuple[int, int], output: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    window = (3, 5, size[0] - 10, size[1] - 7)
    got = resized([image], [window], [True], Resizer(output), np.zeros((1, *output, 3), dtype=np.uint8))
    assert torch.equal(got[0], by_torch(image, window, True, output))


@pytest.mark.parametrize("width", [1, 2, 5, 23])
def test_nothing_is_read_behind_the_last_image(width: int) -> None:
    """Four pixels are read at once: the image ends where a page ends that may not be read."""
    page = mmap.PAGESIZE
    memory = np.frombuffer(mmap.mmap(-1, 2 * page), dtype=np.uint8)
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(memory.ctypes.data + page), page, 0) == 0
    image = memory[page - 7 * width * 3 : page].reshape(7, width, 3)
    image[:] = np.random.default_rng(0).integers(0, 256, image.shape)
    got = resized([image], [(0, 0, 7, width)], [False], Resizer((3, 2)), np.zeros((1, 3, 2, 3), dtype=np.uint8))
    assert torch.equal(got[0], by_torch(image, (0, 0, 7, width), False, (3, 2)))


def test_normalised_it_is_the_same_bytes_normalised() -> None:
    image = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    got = resized(
        [image], [(0, 0, 50, 60)], [False], Resizer((32, 24), mean, std), np.zeros((1, 32, 24, 3), np.float32)
    )
    wanted = (by_torch(image, (0, 0, 50, 60), False, (32, 24)) / 255 - torch.tensor(mean)) / torch.tensor(std)
    assert torch.allclose(got[0], wanted, atol=1e-5)


@pytest.mark.parametrize("window", [(-1, 0, 8, 8), (0, 3, 8, 8), (0, 0, 11, 8), (0, 0, 0, 8), (2**31 - 4, 0, 8, 8)])
def test_a_window_outside_its_image_is_refused(window: Any) -> None:
    image = np.zeros((10, 10, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"resize: a window of .* in an image of 10x10"):
        resized([image], [window], [False], Resizer((4, 4)), np.zeros((1, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="do not fit together"):
        resized([image], [(0, 0, 8, 8)], [False], Resizer((4, 4)), np.zeros((1, 4, 5, 3), np.uint8))


@pytest.mark.parametrize("store", ["raw", "jpeg", "files"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.uint8])
@pytest.mark.parametrize("edits", [(), ("erasing:p=1",)])
def test_batches_are_those_without_the_kernel(
    varied: Dataset, dataset: Dataset, store: Any, dtype: Any, edits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"store": store, "dtype": dtype, "views": 2, "split": "70-30", "batch_size": 8}
    for data in (varied, dataset):
        loader = make_loader(data, augment=("random-resized-crop", "flip", *edits), image_size=40, **options)
        wanted = list(loader)
        with monkeypatch.context() as patch:
            patch.setattr("feedline.pipeline.engines.torch_cpu.make_resizer", lambda *_: None)
            plain = make_loader(data, augment=("random-resized-crop", "flip", *edits), image_size=40, **options)
        for (images, _), (same, _) in zip(wanted, plain, strict=True):
            assert torch.equal(images, same)
