"""Checkpoints: whole or absent, and safe to read."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.errors import InputError

FORMAT = "feedline-checkpoint"
VERSION = 2

LAST, BEST, PREVIOUS = "last.pt", "best.pt", "previous.pt"

# What a checkpoint holds, and what `load` holds it to.
_TYPES: dict[str, tuple[type, ...]] = {
    "fingerprint": (str,),
    "classes": (list,),
    "image_size": (list,),
    "recipe": (str,),
    "config": (dict,),
    "model": (dict,),
    "average": (dict, type(None)),
    "average_updates": (int,),
    "optimizer": (dict,),
    "schedule": (dict,),
    "scaler": (dict,),
    "sums": (torch.Tensor,),
    "position": (dict,),
    "rng": (torch.Tensor,),
    "rng_cuda": (list,),
    "val_top1": (float, type(None)),
}
_POSITION: dict[str, tuple[type, ...]] = {
    "epoch": (int,),
    "step": (int,),
    "train_seconds": (float, int),
    "stall_seconds": (float, int),
    "eval_seconds": (float, int),
    "history": (list,),
    "lrs": (list,),
}


def save(path: Path, state: dict[str, Any], keep: Path | None = None) -> None:
    """Writes a checkpoint to a temporary name, syncs it and renames it.

    At every moment, power cuts included, `path` is the old one or the new one, whole.

    Args:
        path: where to.
        state: tensors, numbers, strings, and lists and dicts of them.
        keep: where the checkpoint that is replaced goes on to exist.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        torch.save({"format": FORMAT, "version": VERSION, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    if keep is not None and path.exists():
        second = keep.with_name(keep.name + ".tmp")
        second.unlink(missing_ok=True)
        try:
            os.link(path, second)  # a second name: `path` is never missing
            second.replace(keep)
        except OSError:  # a file system without links
            path.replace(keep)
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, onto the CPU, without running anything that it holds.

    Raises:
        InputError: if there is none, or it is damaged or something else.
    """
    try:
        # torch does not compare what it reads with the checksums in the file.
        with zipfile.ZipFile(path) as archive:
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} is damaged")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint; runs leave theirs in runs/<run>/last.pt and best.pt") from error
    except Exception as error:  # zipfile and torch raise whatever the bytes lead to
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a checkpoint that can be read ({first[:120]})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this program")
    if state.get("version") != VERSION:
        raise InputError(f"{path}: checkpoint version {state.get('version')}, this program reads {VERSION}")
    _require(path, "", state, _TYPES)
    _require(path, "position.", state["position"], _POSITION)
    return state


def _require(path: Path, where: str, found: dict[str, Any], wanted: dict[str, tuple[type, ...]]) -> None:
    for key, kinds in wanted.items():
        value = found.get(key, ...)
        if not isinstance(value, kinds) or isinstance(value, bool):
            kind = "missing" if value is ... else f"a {type(value).__name__}"
            raise InputError(f"{path}: not a whole checkpoint ({where}{key} is {kind})")


def put_back(path: Path) -> None:
    """Makes an earlier checkpoint of a run its last one, so that going on keeps it."""
    temporary = path.with_name(LAST + ".tmp")
    shutil.copyfile(path, temporary)
    temporary.replace(path.with_name(LAST))


def load_last(folder: Path) -> dict[str, Any]:
    """The last checkpoint of a run.

    Raises:
        InputError: if it cannot be read; with the one before it, if that one can.
    """
    try:
        return load(folder / LAST)
    except InputError as error:
        try:
            at = load(folder / PREVIOUS)["position"]
        except InputError:
            raise error from None
        raise InputError(
            f"{error}; the one before it is whole (epoch {at['epoch'] + 1}, step {at['step']}): go on from there with "
            f"--resume {folder / PREVIOUS}"
        ) from error
