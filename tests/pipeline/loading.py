"""Loaders for these tests, and the batches that they must give."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset, Loader, PlanBatch
from feedline.pipeline.engines.types import ENGINES
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]

__all__ = ["DEVICES", "ENGINES", "all_differ", "epoch", "expected", "make_loader"]


def make_loader(dataset: Dataset, **changes: Any) -> Loader:
    options: dict[str, Any] = {"split": "official", "batch_size": 20, "threads": 2, "seed": 7}
    return Loader(dataset, **{**options, **changes})


def epoch(loader: Loader, number: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader.set_epoch(number)
    return list(loader)


def expected(dataset: Dataset, batch: PlanBatch) -> torch.Tensor:
    """A batch made with Pillow and numpy: pad, crop, mirror, normalise."""
    images = []
    for image, (y, x, h, w), flip in zip(batch.ids.tolist(), batch.window.tolist(), batch.flip.tolist(), strict=True):
        pixels = np.asarray(Image.open(dataset.root / dataset.path(image)).convert("RGB"))
        padded = np.pad(pixels, ((64, 64), (64, 64), (0, 0)))
        window = padded[64 + y : 64 + y + h, 64 + x : 64 + x + w]
        images.append(window[:, ::-1] if flip else window)
    scaled = np.stack(images) / 255.0
    return torch.from_numpy((scaled - IMAGENET_MEAN) / IMAGENET_STD).permute(0, 3, 1, 2).float()


def all_differ(items: list[Any]) -> bool:
    """Whether no two are equal."""
    return all(a != b for i, a in enumerate(items) for b in items[:i])
