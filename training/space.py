"""Room on the disk for a run, before it starts and while it lives."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from feedline.pipeline.errors import InputError
from feedline.training import checkpoint
from feedline.training.state import TrainState

FILES = 4  # last, previous, best, and the one that is written
STATES = {"adam": 2, "adamw": 2}  # tensors that an optimizer keeps for each weight; the others keep one
FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.ESTALE}


def check_space(state: TrainState, out: Path) -> None:
    """Checks that a disk has room for the checkpoints of a run.

    Args:
        state: of the run.
        out: its folder, which exists.

    Raises:
        InputError: if there is less room than they take.
    """
    there = [out / name for name in checkpoint.NAMES]
    held = sum(path.stat().st_size for path in there if path.exists())
    needed, free = max(FILES * checkpoint_bytes(state) - held, 0), shutil.disk_usage(out).free
    if free < needed:
        raise InputError(
            f"`out={out}`: {_mib(free)} MiB are free there, and the checkpoints of this run take {_mib(needed)} (last, "
            "previous and best, and the one that is written); make room, or choose another `out`"
        )


def checkpoint_bytes(state: TrainState) -> int:
    """About how many bytes a checkpoint takes."""
    optim, weights = state.config.optim, sum(map(_bytes, state.model.parameters()))
    kept = 0 if optim.optimizer == "sgd" and not optim.momentum else STATES.get(optim.optimizer, 1)
    models = 1 if state.average is None else 2
    return models * sum(map(_bytes, state.model.state_dict().values())) + kept * weights


@contextmanager
def disk_errors(out: Path | None = None) -> Iterator[None]:
    """Turns errors of a disk that is full or gone into one line.

    Args:
        out: the folder of a run, which may have a checkpoint; None if there is none.

    Raises:
        InputError: if a file of the run cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FAILURES:
            raise
        where, why = error.filename or out or "the results", os.strerror(error.errno)
        there = out is not None and (out / checkpoint.LAST).exists()
        stays = f"; what was saved before stays: make room, and resume it with `resume={out}`" if there else ""
        raise InputError(f"{where}: cannot be written ({why}){stays}") from error


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f}"
