"""Requests to stop a run, by SIGTERM, SIGHUP or Ctrl-C."""

import signal
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

    def stop(signum: int, _: object) -> None:
        if stopping.is_set() and signum == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        stopping.set(signum)

    with _handling(stop, (signal.SIGINT, *_endings())):
        yield


@contextmanager
def interrupt_on_signal() -> Iterator[None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, with their number, so that a command cleans up."""

    def interrupt(signum: int, _: object) -> None:
        raise KeyboardInterrupt(signum)

    with _handling(interrupt, _endings()):
        yield


def _endings() -> tuple[int, ...]:
    """SIGTERM, and SIGHUP unless it is ignored, as nohup does."""
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return (signal.SIGTERM,)
    return signal.SIGTERM, hangup


@contextmanager
def _handling(handler: Handler, signals: tuple[int, ...]) -> Iterator[None]:
    """Handles signals until the exit. Outside the main thread, where Python allows no handlers, it changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {s: signal.signal(s, handler) for s in signals}
    try:
        yield
    finally:
        for signum, before in previous.items():
            signal.signal(signum, before)
