"""What every rung is told."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.ladder.report import Report
from feedline import Dataset
from feedline.cli.build import choose_device
from feedline.cli.recipes import read_recipe
from feedline.training.config import Config


@dataclass(frozen=True)
class Settings:
    """What every rung is told.

    Attributes:
        out: where results go; nothing is written elsewhere.
        data: a dataset folder with both packs.
        minutes: what a rung may take.
        device: as in --device.
        tiny: the smallest sizes, to try the ladder itself.
        seconds: the least length of a measurement.
    """

    out: Path
    data: Path
    minutes: float
    device: str
    tiny: bool
    seconds: float

    def report(self, rung: str) -> Report:
        dataset = Dataset(self.data)
        about = {"name": dataset.name, "fingerprint": dataset.fingerprint, "images": dataset.count}
        return Report(self.out / f"{rung}.json", self.on, self.minutes, rung=rung, tiny=self.tiny, dataset=about)

    @property
    def on(self) -> torch.device:
        return choose_device(self.device)

    @property
    def cores(self) -> int:
        return len(os.sched_getaffinity(0))

    def config(self, **changes: object) -> Config:
        """The default recipe with changes; tiny sizes where the ladder itself is tried."""
        small = {"image_size": 16, "batch_size": 16} if self.tiny else {}
        values = {**read_recipe("default"), "data": str(self.data), "device": self.device, **small, **changes}
        return Config.build("default", values)
