"""How a run is asked to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interrupted(Exception):
    """The run was asked to stop; its state is saved."""


class Stopping:
    """Set when the run is asked to stop.

    Attributes:
        signum: the signal that asked.
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
    """SIGTERM and the first Ctrl-C let the step under way finish and save; a second Ctrl-C interrupts at once.

    Args:
        stopping: what is set.
        patient: no second Ctrl-C: torchrun passes on the one that its processes may have got themselves.
    """

    def stop(signum: int, _: object) -> None:
        if stopping.is_set() and signum == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        stopping.set(signum)

    before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
