"""Signals that end a build: none is lost, and none comes while processes start or the folder gets its name."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

Handler = Callable[[int, FrameType | None], Any]
_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _State:
    """Of the build in this process.

    Attributes:
        received: the signal that ends it.
        line: what is said if it has to end at once; None while no build handles signals.
        folders: those that do not stay if it ends early.
        parents: those made to hold them, the innermost first.
        clearing: whether the folders are being removed.
    """

    received: int | None = None
    line: str | None = None
    folders: ClassVar[list[Path]] = []
    parents: ClassVar[list[Path]] = []
    clearing = False


@contextlib.contextmanager
def ending(line: str) -> Iterator[None]:
    """Until the block ends, SIGINT, SIGTERM and SIGHUP interrupt it, unless they are ignored, as by nohup.

    The first raises KeyboardInterrupt with its number. A second ends the process at once, with nothing left behind;
    it is ignored while folders are being removed.

    Args:
        line: what is printed if the process ends at once.
    """
    process = os.getpid()

    def interrupt(number: int, _: object) -> None:
        if os.getpid() != process:
            _in_new_worker(number)
            return
        if _State.received is None:
            _State.received = number
            raise KeyboardInterrupt(number)
        _end()

    _State.received, _State.line, _State.clearing = None, line, False
    try:
        with _handling(interrupt, defaults=True):
            yield
    finally:
        _State.received = _State.line = None


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], None]]:
    """Until the block ends, signals are noted; yields what hands the first to the handler that was there before.

    Python calls handlers between any two steps of the main thread. What one raises there is lost in a callback that no
    exception leaves (as of locks, when a process is forked), and can leave a lock taken.
    """
    process, noted = os.getpid(), list[int]()

    def note(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            _in_new_worker(number)
            return
        noted.append(number)
        if len(noted) > 1:
            _State.received = noted[0] if _State.received is None and _State.line is not None else _State.received
            before[number](number, frame)

    def deliver() -> None:
        if noted and _State.received is None:
            before[noted[0]](noted[0], None)

    with _handling(note, defaults=False) as before:
        yield deliver
    deliver()


def check() -> None:
    """Raises KeyboardInterrupt if a signal came, and what it raised was lost."""
    if _State.received is not None:
        raise KeyboardInterrupt(_State.received)


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[None]:
    """Removes a folder when the block ends, also if a second signal ends the process."""
    _State.folders.append(folder)
    try:
        yield
    finally:
        _State.clearing = True
        shutil.rmtree(folder, ignore_errors=True)
        _State.folders.remove(folder)
        _State.clearing = False


def made(parents: Sequence[Path]) -> None:
    """Notes folders that were made to hold others, the innermost first: they go if the process ends at once."""
    _State.parents[:] = parents


def _in_new_worker(number: int) -> None:
    """Ends a worker that has just been forked if it is told so: its parent waits for its end."""
    if number == signal.SIGTERM:
        os._exit(128 + number)


def _end() -> None:
    if _State.clearing:
        return
    for child in multiprocessing.active_children():
        child.kill()
        child.join()
    for folder in _State.folders:
        shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        for parent in _State.parents:
            parent.rmdir()
    with contextlib.suppress(OSError):
        os.write(2, f"{_State.line}\n".encode())
    os._exit(128 + (_State.received or signal.SIGINT))


@contextlib.contextmanager
def _handling(handler: Handler, *, defaults: bool) -> Iterator[dict[int, Handler]]:
    """Handles signals until the block ends, with what was done before; of another thread Python allows no handlers.

    Args:
        handler: in place of handlers in Python.
        defaults: whether also in place of the system's.
    """
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for number in map(int, _NUMBERS):
            there = signal.getsignal(number)
            if callable(there) or (defaults and there is signal.SIG_DFL):
                before[number] = there
        for number in before:
            signal.signal(number, handler)
    try:
        yield before
    finally:
        for number, there in before.items():
            signal.signal(number, there)
