"""A folder that is whole or absent: written beside its place, and put there when complete."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from feedline.pipeline.errors import InputError

PATIENCE = 5.0  # seconds in which the workers of a build that was killed let go


@contextlib.contextmanager
def whole_or_absent(out: Path) -> Iterator[Path]:
    """A folder to write into that takes the place of `out` when the block ends well, and goes when it does not.

    What stood at `out` stays there until then.

    Raises:
        InputError: if another process is at it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    clear_up(out)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent))
    folder.chmod(0o755)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held until this process ends, however it ends
        yield folder
        if out.exists():
            old = _old(folder)
            out.rename(old)
            folder.rename(out)
            shutil.rmtree(old)
        else:
            folder.rename(out)
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + "-old")


def clear_up(out: Path) -> None:
    """Removes what builds that were killed left; one killed between its last two renames had moved the old folder.

    Raises:
        InputError: if one is still at work.
    """
    left = sorted(out.parent.glob(f".{out.name}.building-*"))
    for folder in left:
        if folder.name.endswith("-old"):
            if not out.exists():
                folder.rename(out)
            continue
        _wait_for(folder, out)
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(folder: Path, out: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(FileNotFoundError):
        lock = os.open(folder, os.O_RDONLY)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError as error:
                    if time.monotonic() > deadline:
                        raise InputError(
                            f"{out}: another build of it is under way (in {folder.name}); wait for it, or choose "
                            "another --out"
                        ) from error
                    time.sleep(0.1)
        finally:
            os.close(lock)
