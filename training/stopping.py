"""Requests to stop a run, by SIGTERM or Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """The run stopped on request; its state is saved."""


class Stopping:
    """A request to stop.

    Attributes:
        signum: the signal that made the request.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.signum = signal.SIGINT

    def set(self, signum: int = signal.SIGINT) -> None:
        self.signum = signal.Signals(signum)
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()


@contextmanager
def stop_on_signal(stopping: Stopping, *, patient: bool = False) -> Iterator[None]:
    """On SIGTERM or the first Ctrl-C the run finishes its step and saves; a second Ctrl-C interrupts at once.

    Args:
        stopping: the request to set.
        patient: ignore a second Ctrl-C; under torchrun the processes receive the first one twice.
    """

    def stop(signum: int, _: object) -> None:
        if stopping.is_set() and signum == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        stopping.set(signum)

    previous = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
