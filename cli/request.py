"""What the user asked for."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from feedline.cli.claim import Claims
from feedline.cli.recipes import configure
from feedline.cli.results import claim_results
from feedline.cli.runs import RUNS
from feedline.cli.usage import check_effect
from feedline.model import resnet18
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.options import require
from feedline.pipeline.part import choose_split
from feedline.training.config import Config
from feedline.training.network import Network
from feedline.training.ranks import ALONE, Ranks
from feedline.use.rows import Format


@dataclass(frozen=True)
class Request:
    """The command line, parsed.

    Attributes:
        mode: what to do.
        flags: the keys of a recipe that were given, as on the command line.
        command: the whole command, for the files that a mode writes.
        network: builds the model.
        ranks: the processes that run this command.
        recipe, out, resume, checkpoint, part, step, start_lr, end_lr, rounds, seconds, top, format, to, probes: the
            flags of these names.
        inputs: files, folders and patterns of images; of compare, runs.
        quiet: print results, warnings and errors only.
        json: print `results` at the end, and all else on stderr.
        results: what the mode came to, for `json`: the mode fills it.
        claims: the folders that this command writes.

    Raises:
        InputError: if a value is out of range.
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
    step: int | None = None
    start_lr: float | None = None
    end_lr: float | None = None
    rounds: int = 5
    seconds: float = 2.0
    top: int = 5
    format: Format | None = None
    to: str | None = None
    probes: str | None = None
    inputs: tuple[str, ...] = ()
    quiet: bool = False
    json: bool = False
    results: dict[str, Any] = field(default_factory=dict)
    claims: Claims = field(default_factory=Claims)

    def __post_init__(self) -> None:
        require(1 <= self.rounds <= 100_000, "rounds", self.rounds, "at least 1 and at most 100,000")
        require(0 < self.seconds <= 86_400, "seconds", self.seconds, "above 0 and at most 86,400")
        require(self.top >= 1, "top", self.top, "at least 1")
        for name in ("start_lr", "end_lr"):
            lr = getattr(self, name)
            require(lr is None or 1e-30 <= lr <= 1e30, name, lr, "above 0, from 1e-30 to 1e30")

    def config(self) -> Config:
        """The recipe with the flags on top. Raises InputError if a value cannot be used, or a flag has no effect."""
        config = configure(self.recipe or "default", self.flags)
        check_effect(config, self.flags)
        return config

    def opened(self) -> tuple[Config, Dataset]:
        """The dataset, and the configuration for it: with its split, and without what the recipe says of other sets.

        Raises:
            InputError: if there is no such dataset or split, or a value cannot be used.
        """
        dataset = Dataset(self.config().run.data)
        config = configure(self.recipe or "default", self.flags, dataset)
        return config.replace(split=choose_split(dataset, config.loader.split)), dataset

    def folder(self) -> Path:
        """Claims the folder for results: `--out`, or a new one named after mode and time. Only rank 0 may call it.

        Raises:
            InputError: if it cannot be written, another run lives there, or it holds something else.
        """
        if self.out is None:
            return self.claims.new(RUNS, f"{self.mode}-{time.strftime('%Y%m%d-%H%M%S')}")
        return claim_results(self.claims, self.out, self.mode)

    @property
    def resumes_latest(self) -> bool:
        """Whether `--resume` means the latest run, and no folder of that name."""
        return self.resume == "latest" and not Path("latest").exists()

    def searched(self) -> tuple[Path, ...]:
        """Where the latest run, or LR range test, may be: in `runs`, and beside the folder that `--out` names."""
        if self.out is None or self.mode in ("predict", "export"):  # whose `--out` is no run
            return (RUNS,)
        beside = Path(self.out).parent
        return (RUNS,) if beside.resolve() == RUNS.resolve() else (beside, RUNS)
