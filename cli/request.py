"""What the user asked for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from feedline.cli.recipes import configure
from feedline.model import resnet18
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.part import choose_split
from feedline.training.config import Config
from feedline.training.ranks import ALONE, Ranks

# Builds a model for a number of classes. It may take the options of ModelConfig as keywords; only those that are set
# are passed.
Network = Callable[..., nn.Module]


@dataclass(frozen=True)
class Request:
    """The command line, parsed.

    Attributes:
        mode: what to do.
        flags: the keys of a recipe that were given, as on the command line.
        command: the whole command, for the files that a mode writes.
        network: builds the model.
        ranks: the processes that run this command.
        recipe, out, resume, checkpoint, part, start_lr, end_lr, rounds, seconds: the flags of these names.
    """

    mode: str
    flags: dict[str, Any]
    command: str
    network: Network = resnet18
    ranks: Ranks = ALONE
    recipe: str | None = None
    out: str | None = None
    resume: str | None = None
    checkpoint: str | None = None
    part: Literal["val", "test"] = "val"
    start_lr: float | None = None
    end_lr: float | None = None
    rounds: int = 5
    seconds: float = 2.0

    def config(self) -> Config:
        """The recipe with the flags on top. Raises InputError if a value cannot be used."""
        return configure(self.recipe or "default", self.flags)

    def opened(self) -> tuple[Config, Dataset]:
        """The dataset, and the configuration for it: with its split, and without what the recipe says of other sets.

        Raises:
            InputError: if there is no such dataset or split, or a value cannot be used.
        """
        dataset = Dataset(self.config().run.data)
        config = configure(self.recipe or "default", self.flags, dataset)
        return config.replace(split=choose_split(dataset, config.loader.split)), dataset

    def folder(self) -> Path:
        """The folder for results: `--out`, or a new one named after mode and time. Only rank 0 may call it."""
        if self.out:
            return Path(self.out)
        stem = f"{self.mode}-{time.strftime('%Y%m%d-%H%M%S')}"
        names = [stem, *(f"{stem}-{number}" for number in range(2, 1000))]
        return next(path for name in names if not (path := self.runs() / name).exists())

    def runs(self) -> Path:
        """The folder that holds the runs."""
        return Path(self.out).parent if self.out else Path("runs")
