"""A network small enough to train in a test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedline.pipeline import Dataset
from feedline.training.config import Config
from feedline.training.loop import Trainer
from feedline.training.modes.common import choose_device, make_loader

SMALL: dict[str, Any] = {
    "split": "official",
    "batch_size": 16,
    "image_size": 16,
    "epochs": 3,
    "max_lr": 0.02,
    "log_every": 2,
    "device": "cpu",
    "threads": 1,
}


def small_model(classes: int = 4) -> nn.Module:
    """Two convolutions with norms: weights, biases, buffers and a counter, as ResNet18 has."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, 2, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    )


@pytest.fixture
def config(dataset: Dataset) -> Callable[..., Config]:
    """Builds a small configuration on the small sample, with changes."""
    return lambda **changes: Config.build("small", {"data": str(dataset.root), **SMALL, **changes})


@pytest.fixture
def trainer(dataset: Dataset, tmp_path: Path) -> Callable[..., Trainer]:
    """Builds a trainer of the small network."""

    def build(config: Config, out: str = "run", resume: dict[str, Any] | None = None, **options: Any) -> Trainer:
        device = choose_device(config.run.device)
        train = make_loader(config, dataset, "train", device)
        val = make_loader(config, dataset, "val", device)
        return Trainer(config, small_model(), train, val, tmp_path / out, resume, **options)

    return build
