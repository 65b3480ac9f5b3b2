"""Checkpoints: whole or absent, and safe to read."""

import os
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import InputError

FORMAT = "feedline-checkpoint"
VERSION = 1


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint to a temporary name, syncs it and renames it.

    Args:
        path: where to.
        state: tensors, numbers, strings, and lists and dicts of them.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        torch.save({"format": FORMAT, "version": VERSION, **state}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> dict[str, Any]:
    """Reads a checkpoint, onto the CPU, without running anything that it holds.

    Raises:
        InputError: if there is none, or it is damaged or something else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint; runs leave theirs in runs/<run>/last.pt and best.pt") from error
    except Exception as error:  # torch raises whatever the bytes lead to
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{path}: not a checkpoint that can be read ({first[:120]})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path}: not a checkpoint of this program")
    if state.get("version") != VERSION:
        raise InputError(f"{path}: checkpoint version {state.get('version')}, this program reads {VERSION}")
    return state
