"""A network that is small enough to train in a test."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedline import Dataset
from feedline.cli.build import choose_device, make_loader
from feedline.training.config import Config
from feedline.training.loop import Trainer
from feedline.training.snapshot import Snapshot
from feedline.training.state import TrainState
from feedline.training.stopping import Interrupted

Build = Callable[..., Trainer]
Make = Callable[..., Config]

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
def config(dataset: Dataset) -> Make:
    """Builds a small configuration on the small sample, with changes."""
    return lambda **changes: Config.build("small", {"data": str(dataset.root), **SMALL, **changes})


@pytest.fixture
def trainer(dataset: Dataset, tmp_path: Path) -> Build:
    """Builds a trainer of the small network."""

    def build(config: Config, out: str = "run", resume: Snapshot | None = None, **options: Any) -> Trainer:
        device = choose_device(config.run.device)
        train = make_loader(config, dataset, "train", device)
        val = make_loader(config, dataset, "val", device)
        return Trainer(config, small_model(), train, val, tmp_path / out, resume, **options)

    return build


def fit_until(build: Build, config: Config, out: str, step: int) -> Trainer:
    """Trains and requests a stop after a global step. Needs `log_every=1`."""

    def stop(record: Mapping[str, Any]) -> None:
        if record["step"] == step:
            run.stopping.set()

    run = build(config, out, on_record=stop)
    with pytest.raises(Interrupted):
        run.fit()
    return run


def weights(run: Trainer) -> dict[str, torch.Tensor]:
    """Weights and buffers of the model, and of the average if there is one."""
    named = dict(run.state.model.state_dict())
    if run.state.average is not None:
        named |= {f"average.{k}": v for k, v in run.state.average.model.state_dict().items()}
    return named


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights have equal bits."""
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture
def state(config: Make, dataset: Dataset) -> TrainState:
    """The state of a new run of the small network."""
    c = config(ema=0.9)
    return TrainState(c, small_model(), make_loader(c, dataset, "train", torch.device("cpu")))
