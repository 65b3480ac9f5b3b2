"""Writes a folder completely or not at all: under a temporary name beside its place, then renamed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from feedline.convert import signals
from feedline.convert.flush import flush
from feedline.pipeline.errors import InputError

LOCK_TIMEOUT = 5.0  # seconds; the workers of a killed build need a moment to end


def resolve(out: Path) -> Path:
    """Where a folder lies or will lie, without links: what a link leads to is replaced, never the link.

    Raises:
        InputError: if no folder can be there.
    """
    place = Path(os.path.realpath(out))
    if place.is_symlink():
        raise InputError(f"{out}: is a link that leads to itself; remove it, or choose another `out`")
    for path in (out, *out.parents):
        leads_to = Path(os.path.realpath(path))
        missing = leads_to.parent if path == out else leads_to
        if path.is_symlink() and not missing.is_dir():
            raise InputError(
                f"{path}: is a link to {leads_to}, but there is no {missing}; make that folder, or choose another `out`"
            )
    for folder in place.parents:
        if folder.is_dir():
            break
        if folder.exists():
            raise InputError(f"{out}: {folder} is a file, not a folder; choose another `out`")
    return place


@contextlib.contextmanager
def atomic_folder(out: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `out` when the block ends, or is removed if the block raises.

    It is on the disk before it gets its name. A folder that is at `out` already stays there until then. If the block
    raises, folders made to hold `out` are removed too.

    Raises:
        InputError: if another process is writing `out`, or nothing can be written there.
        OSError: if the disk did not take everything.
    """
    out = resolve(out)
    if Path.cwd().is_relative_to(out):
        raise InputError(f"{out}: is the current folder, or holds it; go to another folder, or choose another `out`")
    if os.path.ismount(out):
        raise InputError(
            f"{out}: a file system is mounted there, so it cannot be replaced; choose a folder in it as `out`"
        )
    with _folders(out):
        remove_leftovers(out)
        folder = _make_folder(out)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it when this process ends, however it ends
            with signals.temporary(folder):
                yield folder
                flush(lock)
                signals.check()
                with signals.deferred():
                    _replace(out, folder)
                _flush_names(out.parent)
        finally:
            os.close(lock)


def _make_folder(out: Path) -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(out), dir=out.parent))
        folder.chmod(0o755)
    except OSError as error:
        raise _not_there(out, error) from error
    return folder


def _not_there(out: Path, error: OSError) -> InputError:
    return InputError(f"{out}: no folder can be made there ({error.strerror}); choose another `out`")


@contextlib.contextmanager
def _folders(out: Path) -> Iterator[None]:
    """Makes the folders around `out`. Those that were made are removed if the block raises, unless they are used."""
    made = [parent for parent in out.parents if not parent.exists()]
    signals.made(made)
    try:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _not_there(out, error) from error
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for parent in made:
                parent.rmdir()
        raise


def _replace(out: Path, folder: Path) -> None:
    if not out.exists():
        folder.rename(out)
        return
    old = folder.with_name(folder.name + "-old")
    out.rename(old)
    try:
        folder.rename(out)
    except BaseException:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _flush_names(folder: Path) -> None:
    """Puts the new name on the disk. The folder is complete: what goes wrong here concerns a power cut only."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_leftovers(out: Path) -> None:
    """Removes what killed builds of `out` left behind.

    A build that was killed between its last two renames had moved the old folder away: it is moved back.

    Raises:
        InputError: if a build of `out` is still running.
    """
    out = resolve(out)
    leftovers = _leftovers(out)
    for folder in leftovers:
        if not folder.name.endswith("-old"):
            _wait_for_unlock(folder, out)
        elif not out.exists():
            folder.rename(out)
    for folder in leftovers:
        shutil.rmtree(folder, ignore_errors=True)


def _prefix(out: Path) -> str:
    return f".{out.name}.building-"


def _leftovers(out: Path) -> list[Path]:
    """Temporary folders of `out`, sorted. Those of `out.building-x` begin alike, but have another point."""
    with contextlib.suppress(FileNotFoundError):
        names = (name for name in os.listdir(out.parent) if name.startswith(_prefix(out)))  # noqa: PTH208
        return sorted(out.parent / name for name in names if "." not in name.removeprefix(_prefix(out)))
    return []


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
