"""Runs an engine in a separate thread, or in the thread that takes its batches."""

import atexit
import contextlib
import queue
import threading
import time
from collections.abc import Generator
from typing import Generic, TypeVar
from weakref import WeakSet

import torch

from feedline.pipeline.streams import CPU, use

Item = TypeVar("Item")

_ENDED = "this loop over the loader was ended: by another loop (one runs at a time), close() or load_state_dict()"


_EXITING = threading.Event()
_DAEMONS: "WeakSet[threading.Thread]" = WeakSet()  # threads of the user that loop and that nobody waits for


def _end_daemons(seconds: float = 2.0) -> None:
    """Ends loops in daemon threads before the interpreter does: inside torch that aborts the process.

    Called after the workers' end, because it is registered before. A thread that goes on with something else is left.
    """
    _EXITING.set()
    until = time.monotonic() + seconds
    for thread in list(_DAEMONS):
        thread.join(max(until - time.monotonic(), 0))


atexit.register(_end_daemons)


class Direct(Generic[Item]):
    """Runs a generator in the thread that takes its items. `take` raises RuntimeError after `close`."""

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._items, self._closed = items, False
        if threading.current_thread().daemon:
            _DAEMONS.add(threading.current_thread())

    def take(self) -> Item:
        if _EXITING.is_set():
            raise RuntimeError(_ENDED)
        try:
            item = next(self._items)
        except StopIteration as error:
            raise RuntimeError(_ENDED) from error
        if self._closed:  # meanwhile, by another thread
            self._items.close()
            raise RuntimeError(_ENDED)
        return item

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(ValueError):  # another thread is inside; it closes the generator when it comes out
            self._items.close()


class _End:
    """The last item of a queue that was closed."""


class Prefetcher(Generic[Item]):
    """Runs a generator in a thread, up to `depth` items ahead.

    `take` raises what the generator raised, and RuntimeError after `close`, which waits for the thread. On a GPU the
    thread makes `device` its current one first.
    """

    def __init__(self, items: Generator[Item, None, None], depth: int, device: torch.device = CPU) -> None:
        self._queue: queue.Queue[Item | BaseException | _End] = queue.Queue(depth)
        self._stop = threading.Event()
        self._items, self._device = items, device
        self._thread = threading.Thread(target=self._run, name="feedline-loader", daemon=True)
        self._thread.start()
        # A thread that still runs DALI or torch during interpreter shutdown would abort the process.
        atexit.register(self.close)

    def take(self) -> Item:
        if self._stop.is_set():
            raise RuntimeError(_ENDED)
        item = self._queue.get()
        if isinstance(item, _End):
            self._queue.put(item)  # for another thread that waits
            raise RuntimeError(_ENDED)
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        atexit.unregister(self.close)
        self._stop.set()
        while self._thread.is_alive():
            self._thread.join(timeout=0.05)
            self._drain()
        self._drain()
        with contextlib.suppress(queue.Full):  # another thread closes too, and has said it
            self._queue.put_nowait(_End())  # a thread that waits in take() is told

    def _drain(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._queue.get_nowait()

    def _run(self) -> None:
        try:
            use(self._device)
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            self._put(error)
        finally:
            self._items.close()

    def _put(self, item: Item | BaseException) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
