"""The cases of the study: two sets, two optimizers, two batch sizes; and what is measured in each."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bench.lr_study.narrow import narrow_resnet18
from feedline.cli.build import make_loader
from feedline.cli.modes.lrfind import END_LR
from feedline.cli.recipes import configure
from feedline.model import resnet18
from feedline.pipeline.dataset import Dataset
from feedline.training.bench import endless
from feedline.training.config import Config
from feedline.training.evaluate import evaluate
from feedline.training.lr_range import STEPS, Sweep, lr_range_test
from feedline.training.state import TrainState

CPU = torch.device("cpu")
WIDTH = 16  # channels of the stem; ResNet18 has 64
SETS: dict[str, dict[str, Any]] = {
    "tiny-imagenet": {"classes": 20, "epochs": 3},
    "sample": {"epochs": 4},
}
COMMON: dict[str, Any] = {"split": "70-30", "image_size": 16, "ema": 0.0, "tta": False, "threads": 1, "device": "cpu"}
OPTIMIZERS: dict[str, dict[str, Any]] = {"sgd": {"weight_decay": 5e-4}, "adam": {"weight_decay": 0.0}}
BATCH_SIZES = (32, 128)
# Range tests by their most steps (None: those of an epoch) and their fewest: one epoch; what `--mode lrfind` does;
# short; enough for a factor of 1.069 a step on a small set too. All but the first may take several epochs.
KINDS = {"epoch": (None, 1), "command": (None, STEPS), "short": (60, 1), "full": (10**6, 1)}


@dataclass(frozen=True)
class Case:
    """A set, an optimizer and a batch size.

    Attributes:
        data: the set's dataset folder.
        set, optimizer, batch_size: see `SETS` and `OPTIMIZERS`.
        width: channels of the network's stem.
    """

    data: str
    set: str
    optimizer: str
    batch_size: int
    width: int = WIDTH

    @property
    def name(self) -> str:
        return f"{self.set} {self.optimizer} {self.batch_size}" + (f" width {self.width}" * (self.width != WIDTH))

    def config(self, seed: int, lr: float = 0.1) -> Config:
        """The configuration of a training: the recipe `default`, cut down."""
        own = {"data": self.data, "optimizer": self.optimizer, "batch_size": self.batch_size, "seed": seed}
        given = {**COMMON, **SETS[self.set], **OPTIMIZERS[self.optimizer], **own, "max_lr": lr, "amp": True}
        return configure("default", given)

    def model(self, config: Config) -> nn.Module:
        torch.manual_seed(config.run.seed)
        classes = config.loader.classes or len(Dataset(self.data).classes)
        return resnet18(classes) if self.width == 64 else narrow_resnet18(classes, self.width)

    def sweep(self, seed: int, kind: str) -> dict[str, Any]:
        """Runs a range test.

        Args:
            seed: of weights, order and crops.
            kind: of `KINDS`.

        Returns:
            `lr` and `loss` of each step, `steps` that were planned, and why it `stopped`.
        """
        config, end, (most, fewest) = self.config(seed), END_LR[self.optimizer], KINDS[kind]
        loader = make_loader(config, Dataset(self.data), "train", CPU)
        try:
            sweep = Sweep.plan(most or len(loader), start=end / 1e5, end=end, fewest=fewest)
            test = lr_range_test(config, self.model(config), endless(loader), CPU, sweep)
        finally:
            loader.close()
        return {"lr": test.lr, "loss": test.loss, "steps": sweep.steps, "stopped": test.stopped}

    def train(self, lr: float, seed: int) -> dict[str, Any]:
        """Trains with a peak learning rate.

        Returns:
            `top1` (percent) and `loss` on val after the last epoch, and `diverged`: the train loss became infinite,
            and top-1 is that of a guess.
        """
        config = self.config(seed, lr)
        dataset = Dataset(self.data)
        train, val = (make_loader(config, dataset, part, CPU) for part in ("train", "val"))
        try:
            state = TrainState(config, self.model(config).train(), train)
            for _ in range(config.optim.epochs):
                for images, labels in train:
                    loss, _ = state.step(images, labels)
                    state.schedule.step()
                    if not math.isfinite(loss.item()):
                        return {"top1": 100 / train.classes, "loss": None, "diverged": True}
            evaluation = evaluate(state.model, val, state.step.precision)
        finally:
            train.close()
            val.close()
        return {"top1": round(evaluation.top1, 3), "loss": round(evaluation.loss, 4), "diverged": False}


def cases(folders: dict[str, str]) -> list[Case]:
    """All cases. The folders are the datasets of the sets by name."""
    combinations = itertools.product(OPTIMIZERS, BATCH_SIZES, SETS)
    return [Case(folders[name], name, optimizer, size) for optimizer, size, name in combinations]


COARSE = 3  # doublings between the rates that the search tries first
FURTHER = 12  # doublings that the search goes beyond what it was told to cover


def search(train: Callable[[int], float], low: float, high: float, drop: float = 10.0) -> None:
    """Trains on a grid of rates 2**k: in steps of 8 from `low` on, then in steps of 2 around the best.

    Args:
        train: from k to the top-1; called once or more for each k.
        low, high: rates that the grid covers; it continues above `high` until top-1 is `drop` points below the best,
            and below `low` while the lowest rate is the best.
    """
    tried: dict[int, float] = {}

    def at(k: int) -> float:
        tried[k] = tried[k] if k in tried else train(k)
        return tried[k]

    k = lowest = math.floor(math.log2(low))
    end = math.ceil(math.log2(high))
    while k < end or (at(k) > max(tried.values()) - drop and k < end + FURTHER):
        at(k)
        k += COARSE
    while max(tried, key=at) == lowest > end - FURTHER:
        lowest -= COARSE
        at(lowest)
    lowest, highest = min(tried), max(tried)
    while True:
        best = max(tried, key=at)
        missing = [k for k in (best - 1, best + 1) if lowest <= k <= highest and k not in tried]
        if not missing:
            return
        for k in missing:
            at(k)
