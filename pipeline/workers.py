"""Threads that do tasks for a loop that takes the results in order."""

import atexit
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import torch

Result = TypeVar("Result")


class Task(Generic[Result]):
    """Something that a worker does."""

    __slots__ = ("_args", "_do", "_dropped", "_error", "_result", "_running")

    def __init__(self, do: Callable[..., Result], args: tuple[Any, ...]) -> None:
        self._do, self._args = do, args
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._dropped = False
        self._running = threading.Lock()
        self._running.acquire()

    def run(self) -> None:
        try:
            if not self._dropped:
                self._result = self._do(*self._args)
        except Exception as error:
            self._error = error
        finally:
            self._running.release()

    def drop(self) -> None:
        """Nobody waits for it any more: if it has not begun it will not be done."""
        self._dropped = True

    @property
    def done(self) -> bool:
        return not self._running.locked()

    def result(self) -> Result:
        """Waits for what comes out of it; raises what it raised."""
        self._running.acquire()
        self._running.release()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


class Workers:
    """A few threads, each of which runs torch's operations on one core; torch would use all cores in each of them.

    Who waits for them may do a task himself (`help`); one of the threads steps aside then, so that no more run than
    asked for. Three that took turns on two cores made 0.8 million uint8 images/s out of a raw pack, two workers and one
    who waits 1.0 million, one worker and one who helps 1.2 million.

    Args:
        threads: how many work at a time.
        others: what threads that are started later shall take torch's number of threads to be.
    """

    ASIDE = 2e-3  # seconds without help after which the last thread takes its place again

    def __init__(self, threads: int, others: int) -> None:
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._helped = -self.ASIDE
        started = threading.Barrier(threads + 1)
        self._threads = [
            threading.Thread(
                target=self._work, args=(started, number == 0), name=f"feedline-torch-{number}", daemon=True
            )
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()
        started.wait()
        torch.set_num_threads(others)
        # A thread that still runs torch while the interpreter ends would abort the process.
        atexit.register(self.close)

    def submit(self, do: Callable[..., Result], *args: Any) -> Task[Result]:
        """Tasks are begun in the order in which they come."""
        task = Task(do, args)
        self._tasks.put(task)
        return task

    def help(self) -> bool:
        """Does the next task here; False if none is waiting."""
        try:
            task = self._tasks.get_nowait()
        except Empty:
            return False
        if task is None:
            raise RuntimeError("these workers were closed")
        task.run()
        self._helped = time.monotonic()
        return True

    def close(self) -> None:
        """Waits for what is under way; no thread is left afterwards."""
        atexit.unregister(self.close)
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # it may have held the last task of a loader that is gone
                thread.join()

    def _work(self, started: threading.Barrier, steps_aside: bool) -> None:
        torch.get_num_threads()  # a thread's first call takes over the common number: from here on it has its own
        torch.set_num_threads(1)
        started.wait()
        while (task := self._tasks.get()) is not None:
            task.run()
            del task  # with it the result would be kept here until the next task comes
            while steps_aside and time.monotonic() - self._helped < self.ASIDE:
                time.sleep(self.ASIDE / 2)
