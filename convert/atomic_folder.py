"""Writes a folder completely or not at all: under a temporary name beside its place, then renamed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from feedline.pipeline.errors import InputError

LOCK_TIMEOUT = 5.0  # seconds; the workers of a killed build need a moment to end


@contextlib.contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `out` when the block ends, or is removed if the block raises.

    A folder that is at `out` already stays there until then.

    Raises:
        InputError: if another process is writing `out`.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent))
    folder.chmod(0o755)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it when this process ends, however it ends
        yield folder
        _replace(out, folder)
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _replace(out: Path, folder: Path) -> None:
    if not out.exists():
        folder.rename(out)
        return
    old = folder.with_name(folder.name + "-old")
    out.rename(old)
    folder.rename(out)
    shutil.rmtree(old)


def remove_leftovers(out: Path) -> None:
    """Removes what killed builds of `out` left behind.

    A build that was killed between its last two renames had moved the old folder away: it is moved back.

    Raises:
        InputError: if a build of `out` is still running.
    """
    leftovers = sorted(out.parent.glob(f".{out.name}.building-*"))
    for folder in leftovers:
        if not folder.name.endswith("-old"):
            _wait_for_unlock(folder, out)
        elif not out.exists():
            folder.rename(out)
    for folder in leftovers:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for_unlock(folder: Path, out: Path) -> None:
    """Waits until no process holds the lock of a temporary folder, at most LOCK_TIMEOUT seconds."""
    deadline = time.monotonic() + LOCK_TIMEOUT
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(folder, os.O_RDONLY)
        try:
            while not _try_lock(lock):
                if time.monotonic() > deadline:
                    raise InputError(
                        f"{out}: another build of it is running (in {folder.name}); wait for it, or choose another "
                        "`out`"
                    )
                time.sleep(0.1)
        finally:
            os.close(lock)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
