"""Checkpoint files: whole or absent, and safe to read. What they hold is in snapshot.py."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.files import replacing
from feedline.training.snapshot import Snapshot

NAMES = LAST, PREVIOUS, BEST = "last.pt", "previous.pt", "best.pt"
WRITTEN = {  # in the folder of a run, each under a temporary name first
    *(*NAMES, "run.json", "log.jsonl", "metrics.csv", "summary.json", "curves.png", "predictions.npz"),
    *("report.html", "train_batch.png", "val_batch.png", "nonfinite.json", "max_lr_from.json"),
}


def save(path: Path, snapshot: Snapshot, keep: Path | None = None) -> None:
    """Writes a checkpoint to a temporary name, syncs it and renames it.

    At every moment, power cuts included, `path` is the old file or the new one, complete; on a file system without
    links it is missing between the two, and `keep` is the old one.

    Args:
        path: of the file.
        snapshot: its content.
        keep: the file that is replaced is kept under this name.

    Raises:
        OSError: if it cannot be written; `path` stays as it was.
    """
    with replacing(path) as temporary:
        _write(temporary, snapshot)
        if keep is not None and path.exists():
            _keep(path, keep)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)


def _write(path: Path, snapshot: Snapshot) -> None:
    with path.open("wb") as file:
        try:
            torch.save(snapshot.to_dict(), file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides what went wrong with the file
                raise error.__context__ from None
            raise
        file.flush()
        os.fsync(file.fileno())


def _keep(path: Path, name: Path) -> None:
    """Gives a file a second name, so that its first is never missing."""
    link = name.with_name(name.name + ".tmp")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
        link.replace(name)
    except OSError:  # a file system without links
        path.replace(name)


def load(path: Path) -> Snapshot:
    """Reads a checkpoint onto the CPU. Runs no code that the file may hold.

    Raises:
        InputError: if there is no such file, or it is damaged or something else.
    """
    try:
        content = read(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such checkpoint; runs save theirs as runs/<run>/last.pt and best.pt") from error
    except Exception as error:  # damaged bytes make zipfile and torch raise anything
        raise InputError(f"{path}: not a checkpoint that can be read ({first_line(error)})") from error
    try:
        return Snapshot.from_dict(content)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error


def read(path: Path, *, old: bool = False) -> Any:
    """What torch saved in a file, on the CPU. Runs no code that the file may hold.

    Args:
        path: of the file.
        old: it may be in the form of torch before 1.6, which is no zip.

    Raises:
        Exception: of any kind, if the bytes are damaged.
    """
    if not old or zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # torch does not verify the checksums
            if (damaged := archive.testzip()) and not (old and _has_no_checksums(archive)):
                raise zipfile.BadZipFile(f"{damaged} is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


def _has_no_checksums(archive: zipfile.ZipFile) -> bool:
    """Whether all entries have wrong ones: torch saves so with `set_crc32_options(False)`."""
    return not any(_is_whole(archive, name) for name in archive.namelist())


def _is_whole(archive: zipfile.ZipFile, name: str) -> bool:
    try:
        archive.read(name)
    except zipfile.BadZipFile:
        return False
    return True


def load_last(run: Path) -> Snapshot:
    """Reads the last checkpoint of a run.

    Raises:
        InputError: if it cannot be read; the message offers the one before it, if that one can be read.
    """
    try:
        return load(run / LAST)
    except InputError as error:
        try:
            position = load(run / PREVIOUS).position
        except InputError:
            raise error from None
        raise InputError(
            f"{error.message}; the one before it is complete (epoch {position.epoch + 1}, step {position.step}): "
            f"resume it with `resume={run / PREVIOUS}`"
        ) from error


def clear(run: Path) -> None:
    """Removes what a process that was killed left half written in a run's folder."""
    for path in run.glob("*.tmp"):
        if path.stem in WRITTEN and path.is_file():
            path.unlink()


def put_back(path: Path) -> None:
    """Makes an earlier checkpoint of a run its last one, so that it is kept when the run is resumed."""
    with replacing(path.with_name(LAST)) as temporary:
        shutil.copyfile(path, temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
