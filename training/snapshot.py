"""The content of a checkpoint: its schema and all checks of it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.training.best import Measure, value
from feedline.training.config import Config
from feedline.training.keys import convert_known

FORMAT = "feedline-checkpoint"
VERSION = 2

# The entries of a checkpoint and of the position in it, with the types that they may have.
_ENTRIES: dict[str, tuple[type, ...]] = {
    "fingerprint": (str,),
    "classes": (list,),
    "image_size": (list,),
    "recipe": (str,),
    "config": (dict,),
    "model": (dict,),
    "average": (dict, type(None)),
    "average_updates": (int,),
    "norms": (dict, type(None)),
    "optimizer": (dict,),
    "schedule": (dict,),
    "scaler": (dict,),
    "sums": (torch.Tensor,),
    "certificates": (dict,),
    "position": (dict,),
    "rng": (torch.Tensor,),
    "rng_cuda": (list,),
    "val_top1": (float, type(None)),
    "dataset": (dict,),
    "asked": (dict,),
    "resolved": (dict,),
    "words": (list,),
}
# What older checkpoints lack.
_LATER: dict[str, Any] = {"norms": None, "certificates": {}, "dataset": {}, "asked": {}, "resolved": {}, "words": []}
_LATER_POSITION: dict[str, Any] = {"first_seconds": 0.0, "first_steps": 0}
_POSITION: dict[str, tuple[type, ...]] = {
    "epoch": (int,),
    "step": (int,),
    "train_seconds": (float, int),
    "stall_seconds": (float, int),
    "first_seconds": (float, int),
    "first_steps": (int,),
    "eval_seconds": (float, int),
    "history": (list,),
    "lrs": (list,),
}


@dataclass
class RunPosition:
    """Where a run stands, and what it recorded so far.

    Attributes:
        epoch: finished epochs.
        step: steps done in the current epoch.
        train_seconds, stall_seconds, eval_seconds: time spent, over all sessions of the run.
        first_seconds, first_steps: of the training time, that of the first step of each session and of each size of the
            images, in which torch compiles and chooses its algorithms; and how many these were.
        history: one row per finished epoch, as in metrics.csv; the val figures of epochs without evaluation are None.
        lrs: (epoch, learning rate) of some steps, and of the last of each epoch.
    """

    epoch: int = 0
    step: int = 0
    train_seconds: float = 0.0
    stall_seconds: float = 0.0
    eval_seconds: float = 0.0
    history: list[dict[str, float | None]] = field(default_factory=list)
    lrs: list[tuple[float, float]] = field(default_factory=list)
    first_seconds: float = 0.0
    first_steps: int = 0

    @property
    def stall(self) -> float:
        """Share of the training time in which the model waited for the loader."""
        return self.stall_seconds / self.train_seconds

    @property
    def evaluated(self) -> list[dict[str, Any]]:
        """The rows of the epochs after which the model was evaluated."""
        return [row for row in self.history if row["val_top1"] is not None]

    def best_epoch(self, by: Measure) -> int:
        """The first epoch with the best value of a measure; 0 before an evaluation."""
        return int(max(self.evaluated, key=lambda row: value(row, by), default={"epoch": 0})["epoch"])

    def since_best(self, by: Measure) -> int:
        """Evaluations since the best one."""
        best = self.best_epoch(by)
        return sum(row["epoch"] > best for row in self.evaluated)

    def add_time(self, seconds: float, stalled: float) -> None:
        """Adds training time, and how much of it was stall."""
        self.train_seconds += seconds
        self.stall_seconds += stalled

    def add_first(self, seconds: float, stalled: float) -> None:
        """Adds the time of a first step."""
        self.add_time(seconds, stalled)
        self.first_seconds, self.first_steps = self.first_seconds + seconds, self.first_steps + 1

    def copy(self) -> "RunPosition":
        return dataclasses.replace(self, history=[dict(row) for row in self.history], lrs=list(self.lrs))


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The content of a checkpoint.

    Attributes:
        fingerprint, classes: of the dataset; the folders of the classes.
        image_size: (height, width) of the input in evaluation, in pixels.
        config: of the run.
        model, average: weights and buffers by name; `average` is None for a run without one.
        average_updates: steps in the average.
        norms: statistics of batch norms, by name, that the evaluation just before used instead of those in `model` or
            `average`; None if there are none.
        optimizer, schedule, scaler: their state dicts.
        sums: float64 [4]: what the current epoch counted, over all ranks (see `Counts`).
        certificates: int64 [steps] by name: of the steps since the last log line, over all ranks (see `Certificate`).
        position: where the run stands.
        rng, rng_cuda: states of torch's generators: of the host on rank 0, and of the GPU of each rank.
        val_top1: in percent; None unless saved right after an evaluation.
        dataset: its `name`, and the `path` of its folder; empty in older checkpoints.
        asked: what the command asked for (see `Asked`); empty in older checkpoints.
        resolved: what the run made of it (see `resolved`); empty in older checkpoints.
        words: what describes each class; empty in older checkpoints.
    """

    fingerprint: str
    classes: list[str]
    image_size: list[int]
    config: Config
    model: dict[str, torch.Tensor]
    average: dict[str, torch.Tensor] | None
    average_updates: int
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    sums: torch.Tensor
    position: RunPosition
    rng: torch.Tensor
    rng_cuda: list[torch.Tensor]
    certificates: dict[str, torch.Tensor] = field(default_factory=dict)
    val_top1: float | None = None
    norms: dict[str, torch.Tensor] | None = None
    dataset: dict[str, str] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    resolved: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights to evaluate: the average, if there is one, with the statistics of the evaluation just before."""
        return {**(self.average or self.model), **(self.norms or {})}

    @property
    def resumable(self) -> bool:
        """Whether a run can be resumed from it; one that is for use has no state of an optimizer."""
        return bool(self.optimizer)

    def for_use(self) -> "Snapshot":
        """Only the weights to evaluate, and what is needed to use them: half the size or less."""
        parts: dict[str, Any] = {"model": self.average or self.model, "average": None, "rng_cuda": []}
        return dataclasses.replace(self, **parts, optimizer={}, schedule={}, scaler={})

    def copied(self) -> "Snapshot":
        """A copy in the host's memory, which training does not change."""
        return dataclasses.replace(self, **{f.name: _copied(getattr(self, f.name)) for f in dataclasses.fields(self)})

    def to_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings, and lists and dicts of them: what torch reads without running code."""
        content = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {
            "format": FORMAT,
            "version": VERSION,
            **content,
            "recipe": self.config.recipe,
            "config": as_lists(self.config.flat()),
            "position": {**vars(self.position), "lrs": [list(pair) for pair in self.position.lrs]},
        }

    @classmethod
    def from_dict(cls, content: object) -> "Snapshot":
        """Checks the content of a file.

        Raises:
            InputError: if it is something else, of another version, or not complete.
        """
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise InputError("not a checkpoint of this program")
        if content.get("version") != VERSION:
            raise InputError(f"checkpoint version {content.get('version')!r}, this program reads {VERSION}")
        entries = _checked({**_LATER, **content}, _ENTRIES)
        recipe, config = entries.pop("recipe"), entries.pop("config")
        position = _checked({**_LATER_POSITION, **entries.pop("position")}, _POSITION, "position.")
        try:
            position["lrs"] = [(epoch, lr) for epoch, lr in position["lrs"]]
        except (TypeError, ValueError) as error:
            raise InputError("not a complete checkpoint (position.lrs is not a list of pairs)") from error
        # Keys that it lacks get their defaults: it may be older than they are.
        return cls(config=Config.build(recipe, convert_known(config)), position=RunPosition(**position), **entries)

    def check_dataset(self, dataset: Dataset, path: Path) -> None:
        """Checks that a dataset is the one of the run.

        Args:
            dataset: the one to use now.
            path: of the checkpoint, for the message.

        Raises:
            InputError: if it is another one.
        """
        if self.fingerprint != dataset.fingerprint:
            raise InputError(
                f"{path}: was trained on another dataset ({counted(len(self.classes), 'class')}, fingerprint "
                f"{self.fingerprint[:12]}), {dataset.root} is {dataset.name} with "
                f"{counted(len(dataset.classes), 'class')}, fingerprint {dataset.fingerprint[:12]}; name the "
                "right one with `data`, or leave it out (--mode eval takes any with the same classes)"
            )


def _copied(value: Any) -> Any:
    """Tensors, and those in dicts and lists, copied to the host; all else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def as_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values with lists in place of tuples, as checkpoints hold them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _checked(content: Mapping[str, Any], types: dict[str, tuple[type, ...]], where: str = "") -> dict[str, Any]:
    """The entries that are known. Raises InputError if one is missing or of a wrong type."""
    for key, kinds in types.items():
        value = content.get(key, ...)
        if not isinstance(value, kinds) or isinstance(value, bool):
            kind = "missing" if value is ... else f"a {type(value).__name__}"
            raise InputError(f"not a complete checkpoint ({where}{key} is {kind})")
    return {key: content[key] for key in types}
