"""A run's folder belongs to one process while that lives."""

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedline.pipeline.errors import InputError

LOCK = "running.lock"
BEFORE_THE_FIRST_LINE = {"run.json", "log.jsonl"}  # what a training writes before it has anything to tell


@dataclass
class _Claim:
    """A folder that is claimed: the lock on a file in it, and what was made for it."""

    folder: Path
    lock: int
    made: list[Path]


@dataclass
class Claims:
    """The folders that this process claims, until `close`.

    A claim is a lock on a file in the folder. It ends with the process, however that ends.
    """

    _held: list[_Claim] = field(default_factory=list)

    def new(self, runs: Path, stem: str) -> Path:
        """Makes a new folder and claims it: `runs/stem`, with a number behind it if others have the name.

        Raises:
            InputError: if no folder can be made there.
        """
        made = _make(runs, runs)
        for number in range(1, 100_000):
            folder = runs / (stem if number == 1 else f"{stem}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            except OSError as error:
                raise _cannot(folder, error) from error
            return self._hold(folder, [folder, *made], "out")
        raise InputError(f"`out={runs / stem}`: there are too many runs of this name; choose another `out`")

    def take(self, folder: Path, name: str = "out") -> Path:
        """Claims a folder, which is made if it does not exist.

        Args:
            folder: of the run.
            name: of the argument that named it.

        Raises:
            InputError: if it cannot be written, or another process has claimed it.
        """
        return self._hold(folder, _make(folder, folder), name)

    def close(self) -> None:
        """Ends all claims. Of a folder that was made here and holds nothing of use nothing is left."""
        while self._held:
            claim = self._held.pop()
            with contextlib.suppress(OSError):
                (claim.folder / LOCK).unlink()
            os.close(claim.lock)
            _remove(claim.folder, claim.made)

    def _hold(self, folder: Path, made: list[Path], name: str) -> Path:
        try:
            self._held.append(_Claim(folder, _lock(folder, name), made))
        except BaseException:
            _remove(folder, made)
            raise
        return folder


def _make(folder: Path, named: Path) -> list[Path]:
    """Makes a folder and those above it; returns those that it made, the innermost first."""
    missing: list[Path] = []
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"`out={named}`: is a file; name a folder for the results")
        for path in (folder, *folder.parents):
            if path.exists():
                break
            if path.is_symlink():
                raise InputError(
                    f"`out={named}`: {path} is a link that leads nowhere; remove it, or choose another `out`"
                )
            missing.append(path)
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise _cannot(named, error) from error
    return missing


def _cannot(folder: Path, error: OSError) -> InputError:
    return InputError(f"`out={folder}`: cannot be written ({error.strerror or error}); choose another `out`")


def _lock(folder: Path, name: str) -> int:
    """Opens and locks the file in a folder; on a file system without locks it is only opened.

    Raises:
        InputError: if the folder cannot be written, or another process holds the lock.
    """
    path = folder / LOCK
    while True:
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _cannot(folder, error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = _holder(lock)
            os.close(lock)
            what = "this run lives" if name == "resume" else "a run lives in this folder"
            other = "" if name == "resume" else ", or choose another `out`"
            raise InputError(f"`{name}={folder}`: {what}{holder}; wait for its end{other}") from error
        except OSError:  # a file system without locks
            return lock
        if _is_current(lock, path):
            _introduce(lock, folder)
            return lock
        os.close(lock)  # its holder ended, and removed it, just before


def _is_current(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _introduce(lock: int, folder: Path) -> None:
    """Writes who holds the lock."""
    about = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(about).encode(), 0)
    except OSError as error:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(lock)
        raise _cannot(folder, error) from error


def _holder(lock: int) -> str:
    """Who holds a lock, as far as it is known."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        about: dict[str, Any] = json.loads(os.pread(lock, 4096, 0))
        return f" (process {about['pid']} on {about['host']}, since {about['since']})"
    return ""


def _remove(folder: Path, made: list[Path]) -> None:
    """Removes a folder that was made here, and those above it, unless something of use is in them."""
    if folder not in made:
        return
    with contextlib.suppress(OSError):
        files = {path.name for path in folder.iterdir()}
        log = folder / "log.jsonl"
        if files <= BEFORE_THE_FIRST_LINE and not (log.exists() and log.stat().st_size):
            for name in files:
                (folder / name).unlink()
        for path in made:
            path.rmdir()
