"""Weights to start from: a checkpoint's, or a state dict that torchvision or timm wrote."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from feedline.pipeline.errors import InputError, did_you_mean, first_line
from feedline.training import checkpoint
from feedline.training.checkpoint import BEST, LAST
from feedline.training.snapshot import FORMAT, Snapshot

NESTED = ("state_dict_ema", "model_ema", "state_dict", "model")  # where other programs keep the weights, averages first
PREFIXES = ("module.", "_orig_mod.")  # that DistributedDataParallel and torch.compile put before names
SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class Initial:
    """Weights to start from.

    Attributes:
        path: of the file.
        weights: by name.
        snapshot: the checkpoint that they are from; None for another program's file.
    """

    path: Path
    weights: Mapping[str, torch.Tensor]
    snapshot: Snapshot | None = None

    @classmethod
    def read(cls, path: Path) -> "Initial":
        """Reads a file onto the CPU: of a checkpoint the average, if it has one. Runs no code that the file may hold.

        Args:
            path: of the file, or of the folder of a run, of which it takes the best weights, or the last ones.

        Raises:
            InputError: if there is no such file, or it holds no weights.
        """
        path = _in_run(path) if path.is_dir() else path
        try:
            content = checkpoint.read(path, old=True)
        except FileNotFoundError as error:
            raise _no_file(path) from error
        except Exception as error:  # damaged bytes make zipfile and torch raise anything
            raise InputError(f"`init={path}`: holds no weights that can be read ({_why(error)})") from error
        if isinstance(content, dict) and content.get("format") == FORMAT:
            try:
                snapshot = Snapshot.from_dict(content)
            except InputError as error:
                raise InputError(f"`init={path}`: {error.message}") from error
            return cls(path, snapshot.weights, snapshot)
        return cls(path, _weights_in(content, path))

    def load(self, model: nn.Module, classes: Sequence[str]) -> str:
        """Gives a model these weights: all, or all but the last layer's if that is for other classes.

        Args:
            model: a network whose last layer is linear.
            classes: the folders of the classes that it will tell apart.

        Returns:
            What was loaded, in words.

        Raises:
            InputError: if the weights are those of another network.
        """
        wanted, head = model.state_dict(), _head(model)
        kept = {name: tensor for name, tensor in self.weights.items() if not name.endswith(COUNTER) or name in wanted}
        self._check(kept, wanted, head)
        other = self._why_not_the_head(kept, wanted, head, classes)
        held = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}  # a bias at 0
        kept = {name: w for name, w in kept.items() if not (name in held or (other and name.startswith(head)))}
        try:
            model.load_state_dict(kept, strict=False)
        except RuntimeError as error:  # sparse weights, or without memory (meta)
            why = str(error).splitlines()[-1].strip()  # the first lines only name the class
            raise InputError(f"`init={self.path}`: its weights cannot be copied ({why})") from error
        return f"all weights but the last layer's, {other}" if other else "all weights"

    def _check(self, kept: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], head: str) -> None:
        """Raises InputError if a weight but the last layer's is missing, unknown or of another shape."""
        names = [name for name in wanted if not name.startswith(head) and not name.endswith(COUNTER)]
        if missing := [name for name in names if name not in kept]:
            raise self._misfit(f"it has no {missing[0]}{_more(missing)}")
        if unknown := [name for name in kept if name not in wanted]:
            raise self._misfit(f"it has {unknown[0]}{_more(unknown)}, which this network lacks")
        if others := [name for name in names if kept[name].shape != wanted[name].shape]:
            there, here = (tuple(weights[others[0]].shape) for weights in (kept, wanted))
            stem = {7: "standard", 3: "small"}.get(there[-1]) if others == ["conv1.weight"] else None
            fit = f"; with `stem={stem}` it fits" if stem else ""
            raise self._misfit(f"{others[0]}{_more(others)} is {there} there and {here} here{fit}")

    def _why_not_the_head(
        self, kept: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], head: str, classes: Sequence[str]
    ) -> str:
        """Why the last layer cannot be taken over; empty if it can."""
        names = [name for name in wanted if name.startswith(head)]
        if not names:
            return ""
        there = next((len(kept[name]) for name in names if name in kept), None)
        if there is None:
            return "which the file lacks"
        if there != len(classes):
            return f"which is for {there} classes there and for {len(classes)} here"
        if self.snapshot is not None and self.snapshot.classes != list(classes):
            return "which is for other classes there"
        missing = any(name not in kept or kept[name].shape != wanted[name].shape for name in names)
        return "which is another one there" if missing else ""

    def _misfit(self, what: str) -> InputError:
        return InputError(f"`init={self.path}`: the weights are those of another network: {what}")


def _in_run(folder: Path) -> Path:
    """The best checkpoint in a folder, or the last one."""
    for name in (BEST, LAST):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"`init={folder}`: a folder without {BEST} or {LAST}; name a run that has saved one, or a file")


def _no_file(path: Path) -> InputError:
    """The error that there is no such file; somebody who names a network wants weights that others trained."""
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        near = did_you_mean(str(path), path.parent.glob("*"))
        return InputError(f"`init={path}`: no such file{near or '; runs save theirs as runs/<run>/best.pt'}")
    return InputError(
        f"`init={path}`: no such file; name a checkpoint, the folder of a run, or a file of weights: torchvision's are "
        "written by torch.save(torchvision.models.resnet18(weights='DEFAULT').state_dict(), 'resnet18.pt')"
    )


def _why(error: Exception) -> str:
    """Why torch read nothing, in a few words: its own are about trusting the file, or a number."""
    if isinstance(error, PermissionError):
        return first_line(error)
    return "not a state_dict() as torch.save writes it, or damaged"


def _weights_in(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in another program's file, with plain names."""
    if isinstance(content, dict):
        content = next((content[key] for key in NESTED if isinstance(content.get(key), dict)), content)
    if not isinstance(content, dict) or not content or not all(isinstance(v, torch.Tensor) for v in content.values()):
        raise InputError(f"`init={path}`: holds no weights by name; save a network's state_dict()")
    weights = {str(name): tensor for name, tensor in content.items()}
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _head(model: nn.Module) -> str:
    """What the names of the last linear layer's weights start with."""
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return f"{layers[-1]}." if layers else "\0"


def _more(names: Sequence[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""
