"""The functions for the GPU work on any device. They are tested on the CPU, and the engine on a GPU if there is one."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from feedline import Dataset, PlanBatch
from feedline.pipeline.augment import Augmentations, Center, Flip, PadCrop, RandomResizedCrop
from feedline.pipeline.augment.types import Crop
from feedline.pipeline.cropper import crop_one
from feedline.pipeline.engines.resize import resize
from feedline.pipeline.engines.torch_gpu import cut_each, cut_windows
from feedline.pipeline.plan.draw import Draw
from tests.pipeline.loading import epoch, make_loader

COUNT, HEIGHT, WIDTH = 60, 20, 26


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8))


def planned(crop: Crop, output: tuple[int, int]) -> PlanBatch:
    sizes = np.broadcast_to(np.array([HEIGHT, WIDTH]), (COUNT, 2))
    draw = Draw(np.arange(COUNT), sizes, seed=1, epoch=2)
    batch = PlanBatch(draw.ids, *Augmentations(output, crop, Flip()).choose(draw))
    assert batch.flip.any()
    assert not batch.flip.all()
    return batch


def one_by_one(images: torch.Tensor, batch: PlanBatch, output: tuple[int, int] | None = None) -> torch.Tensor:
    """Cuts each window alone, from the mirrored image if it is mirrored."""
    cut = []
    for image, window, flip in zip(images.numpy(), batch.window.tolist(), batch.flip.tolist(), strict=True):
        pixels = torch.from_numpy(crop_one(image, window)[:, :: -1 if flip else 1].copy())[None]
        cut.append(pixels if output is None else resize(pixels, output))
    return torch.cat(cut)


@pytest.fixture
def warnings_each_time() -> Iterator[None]:
    """By default torch gives most warnings only once per process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.usefixtures("warnings_each_time")
@pytest.mark.parametrize("crop", [PadCrop(0), PadCrop(4), PadCrop(40), Center(), Center(0.5)])
def test_windows_of_one_size_equal_those_cut_one_by_one(images: torch.Tensor, crop: Crop) -> None:
    batch = planned(crop, (16, 16))
    cut = cut_windows(images, batch)
    assert cut.dtype == torch.uint8
    assert torch.equal(cut, one_by_one(images, batch))


@pytest.mark.parametrize("output", [(16, 16), (9, 31)])
def test_windows_of_different_sizes_equal_those_cut_one_by_one(images: torch.Tensor, output: tuple[int, int]) -> None:
    batch = planned(RandomResizedCrop(), output)
    assert len(np.unique(batch.window[:, 2:], axis=0)) > 10
    assert torch.equal(cut_each(images, batch, output), one_by_one(images, batch, output))


def test_windows_that_need_no_resizing_are_cut_exactly(images: torch.Tensor) -> None:
    batch = planned(Center(), (HEIGHT, WIDTH))
    assert torch.equal(cut_each(images, batch, (HEIGHT, WIDTH)), one_by_one(images, batch))


@pytest.mark.gpu
@pytest.mark.parametrize("store", ["jpeg", "raw", "resident"])
@pytest.mark.parametrize(
    "changes",
    [
        {"augment": ("random-resized-crop", "flip"), "image_size": 40},
        {"augment": ("pad-crop:8", "flip"), "image_size": 32},
        {"augment": ("flip",), "dtype": torch.uint8},
        {"part": "val", "crop_fraction": 0.5, "dtype": torch.float16},
    ],
)
def test_gpu_and_cpu_make_the_same_batches(dataset: Dataset, store: Any, changes: dict[str, Any]) -> None:
    on_gpu = epoch(make_loader(dataset, engine="torch", device="cuda", store=store, **changes), 1)
    wanted = epoch(make_loader(dataset, engine="torch", store="raw", **changes), 1)
    for (images, labels), (on_cpu, labels_on_cpu) in zip(on_gpu, wanted, strict=True):
        assert images.dtype == on_cpu.dtype
        assert labels.tolist() == labels_on_cpu.tolist()
        levels = (images.cpu().float() - on_cpu.float()).abs() * (1 if images.dtype == torch.uint8 else 255 * 0.225)
        assert levels.max() < 2.5
        assert levels.mean() < 0.6
