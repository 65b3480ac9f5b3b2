"""Requests to stop a run, by SIGTERM, SIGHUP or Ctrl-C."""

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


class Interrupted(Exception):
    """The run stopped on request; its state is saved."""


class Stopping:
    """A request to stop.

    Attributes:
        signum: the signal that made the request.
    """

    def __init__(self) -> None:
        self._requested = False  # no threading.Event: its lock would deadlock on a signal inside the handler of another
        self.signum = signal.SIGINT

    def set(self, signum: int = signal.SIGINT) -> None:
        self.signum = signal.Signals(signum)
        self._requested = True

    def is_set(self) -> bool:
        return self._requested


@contextmanager
def stop_on_signal(stopping: Stopping, *, patient: bool = False) -> Iterator[None]:
    """On SIGTERM, SIGHUP or the first Ctrl-C the run finishes its step and saves; a second Ctrl-C interrupts at once.

    Args:
        stopping: the request to set.
        patient: ignore a second Ctrl-C; under torchrun the processes receive the first one twice.
    """

    _Over.is_over = _Over.asked = False

    def stop(signum: int, _: object) -> None:
        if stopping.is_set() and signum == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        stopping.set(signum)

    with _handling(stop, (signal.SIGINT, *_endings())):
        yield


@contextmanager
def interrupt_on_signal() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, with their number, so that a command cleans up."""
    _Over.is_over = _Over.asked = False
    with _handling(_interrupt, (*_interrupts(), *_endings())):
        yield


def over(note: str = "", *, asked: bool = False, patient: bool = False) -> None:
    """From here on a signal has nothing to stop: the first changes nothing, a second ends the process at once.

    None raises KeyboardInterrupt: Python loses one that is raised while a loader is cleared away, and prints it.

    Args:
        note: what to say of the first.
        asked: it came already.
        patient: ignore a second one too.
    """
    _Over.note, _Over.asked, _Over.patient, _Over.is_over = note, False, patient, True
    if asked:
        _late(signal.SIGINT)


def until_exit(command: Callable[[], int], name: str) -> int:
    """Runs a command, and returns its exit status. Signals that come later are handled as in `over`.

    Args:
        command: after which the process exits.
        name: of the command, for the line that says that it was interrupted.
    """
    handled = (*_interrupts(), *_endings())
    # Runs after what the command registers: the rest of the exit takes a second, and runs no handlers in Python.
    atexit.register(lambda: [signal.signal(signum, signal.SIG_IGN) for signum in handled])
    _Over.is_over, _Over.asked, _Over.name = False, False, name
    for signum in handled:
        signal.signal(signum, _unless_over(_interrupt))
    try:
        status = command()
    except KeyboardInterrupt as error:  # between two of its steps that handle one
        _say(f"{name}: interrupted")
        status = 128 + (error.args[0] if error.args else signal.SIGINT)
    over()
    return status


class _Over:
    """Whether the work of this process is over, and what comes of signals then, as in `over`."""

    is_over = asked = patient = False
    note, name = "", "feedline"


def _late(signum: int) -> None:
    """Handles a signal that comes when the work is over."""
    if not _Over.asked:
        _Over.asked = True
        _say(_Over.note)
    elif not _Over.patient:
        with contextlib.suppress(Exception):  # it may have been printing
            sys.stdout.flush()
        _say(f"{_Over.name}: interrupted")
        os._exit(128 + signum)


def _say(line: str) -> None:
    """Writes a line to stderr, also while something is being printed."""
    if line:
        with contextlib.suppress(OSError):
            os.write(2, f"{line}\n".encode())


def _interrupt(signum: int, _: object) -> None:
    raise KeyboardInterrupt(signum)


def _unless_over(handler: Handler) -> Handler:
    def handle(signum: int, frame: FrameType | None) -> None:
        if _Over.is_over:
            _late(signum)
        else:
            handler(signum, frame)

    return handle


def _interrupts() -> tuple[int, ...]:
    """SIGINT, unless it is ignored, as in the background of a shell script."""
    return () if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else (signal.SIGINT,)


def _endings() -> tuple[int, ...]:
    """SIGTERM, and SIGHUP unless it is ignored, as nohup does."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, signal.SIGHUP


@contextmanager
def _handling(handler: Handler, signals: tuple[int, ...]) -> Iterator[None]:
    """Handles signals until the exit. Outside the main thread, where Python allows no handlers, it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {s: signal.signal(s, _unless_over(handler)) for s in signals}
    try:
        yield
    finally:
        for signum, before in previous.items():
            signal.signal(signum, before)
