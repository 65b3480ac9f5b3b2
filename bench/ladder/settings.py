"""The settings of a rung."""

from dataclasses import dataclass
from pathlib import Path

import torch

from bench.ladder.report import Report
from feedline import Dataset
from feedline.cli.build import choose_device
from feedline.cli.recipes import read_recipe
from feedline.pipeline.cores import available_cores
from feedline.pipeline.resolve import input_size
from feedline.training.config import Config


@dataclass(frozen=True)
class Settings:
    """The settings of a rung.

    Attributes:
        out: folder for results; nothing is written outside it.
        data: a dataset folder with both packs.
        minutes: time limit of the rung.
        device: as in --device.
        tiny: use the smallest sizes, to test the ladder itself.
        seconds: minimum length of a measurement.
        go_on: keep what an earlier call with the same `out` measured.
        recipes: to train for accuracy; none for all that have a target.
        flags: of train.py for them, in one string.
    """

    out: Path
    data: Path
    minutes: float
    device: str
    tiny: bool
    seconds: float
    go_on: bool = False
    recipes: tuple[str, ...] = ()
    flags: str = ""

    def report(self, rung: str) -> Report:
        dataset = Dataset(self.data)
        about = {"name": dataset.name, "fingerprint": dataset.fingerprint, "images": dataset.count}
        path = self.out / f"{rung}.json"
        return Report(path, self.on, self.minutes, go_on=self.go_on, rung=rung, tiny=self.tiny, dataset=about)

    @property
    def on(self) -> torch.device:
        return choose_device(self.device)

    @property
    def cores(self) -> int:
        return available_cores()

    def side(self, dataset: Dataset) -> int:
        """Of the input in pixels."""
        return self.config().loader.last_size or input_size(dataset.image_size)[0]

    def config(self, **changes: object) -> Config:
        """The default recipe with changes, and small sizes if `tiny`."""
        small = {"image_size": 16, "batch_size": 16} if self.tiny else {}
        values = {**read_recipe("default"), "data": str(self.data), "device": self.device, **small, **changes}
        return Config.build("default", values)
