"""A folder for what a build unpacks, beside the dataset folder."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from feedline.convert import signals


class Scratch:
    """Makes a temporary folder when it is first asked for.

    Args:
        out: the dataset folder; the temporary one lies beside it, where there must be space anyway.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stack = contextlib.ExitStack()
        self._folder: Path | None = None

    def folder(self) -> Path:
        """The folder, empty at first."""
        if self._folder is None:
            self._folder = self._stack.enter_context(_temporary_folder(self._out))
        return self._folder

    def close(self) -> None:
        """Removes the folder."""
        self._stack.close()


@contextlib.contextmanager
def _temporary_folder(out: Path) -> Iterator[Path]:
    """A locked folder: a build that is killed releases the lock, and the next one removes the folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    for leftover in out.parent.glob(f".{glob.escape(out.name)}.unpacked-*"):
        with contextlib.suppress(OSError), _locked(leftover):
            shutil.rmtree(leftover, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.unpacked-", dir=out.parent))
    with signals.temporary(folder), _locked(folder):
        yield folder


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
