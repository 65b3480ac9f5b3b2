"""Threads that do tasks for a loop that takes the results in order."""

import atexit
import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

import torch

from feedline.pipeline.errors import OutOfMemoryError
from feedline.pipeline.streams import CPU, use

Item = TypeVar("Item")
Result = TypeVar("Result")


class Task(Generic[Result]):
    """A call that a worker makes."""

    __slots__ = ("_args", "_cancelled", "_error", "_function", "_result", "_running")

    def __init__(self, function: Callable[..., Result], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args
        self._result: Result | None = None
        self._error: BaseException | None = None
        self._cancelled = False
        self._running = threading.Lock()
        self._running.acquire()

    def run(self) -> None:
        function, args = self._function, self._args
        try:
            if not self._cancelled:
                self._result = function(*args)
        except Exception as error:
            self._error = error
        finally:
            self._running.release()

    def cancel(self) -> None:
        """The task is skipped, if it has not started. It no longer keeps alive what it would have called."""
        self._cancelled = True
        self._function, self._args = _nothing, ()

    def abandon(self) -> None:
        """Nobody will run the task: who waits for its result is told."""
        self._error = RuntimeError("this loop over the loader was ended: its threads were closed")
        self._running.release()

    @property
    def done(self) -> bool:
        return not self._running.locked()

    def result(self) -> Result:
        """Waits for the task; returns what it returned, raises what it raised."""
        self._running.acquire()
        self._running.release()
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]


def _nothing(*_: Any) -> Any:
    """What a cancelled task would call."""


class Workers:
    """A few threads, each of which runs torch's operations on one core; torch would use all cores in each of them.

    The consumer may run a queued task while it waits (`help`); one of the threads then steps aside, so that no more run
    than asked for. Three that took turns on two cores made 0.8 million uint8 images/s out of a raw pack, two workers
    and a consumer that waits 1.0 million, one worker and a consumer that helps 1.2 million.

    Args:
        threads: how many work at a time.
        torch_threads: torch's number of threads, restored for threads that are started later.
        device: if it is a GPU, each thread makes it its current one first.
    """

    STEP_ASIDE = 2e-3  # seconds without help after which the last thread works again

    def __init__(self, threads: int, torch_threads: int, device: torch.device = CPU) -> None:
        self._device = device
        self._tasks: SimpleQueue[Task[Any] | None] = SimpleQueue()
        self._last_help, self._closed = -self.STEP_ASIDE, False
        started = threading.Barrier(threads + 1)
        self._threads = [
            threading.Thread(
                target=self._work, args=(started, number == 0), name=f"feedline-torch-{number}", daemon=True
            )
            for number in range(threads)
        ]
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            started.abort()  # those that were started end
            raise OutOfMemoryError(f"`threads={threads}`: the system starts no more threads ({error})") from error
        started.wait()
        torch.set_num_threads(torch_threads)
        # A thread that still runs torch while the interpreter ends would abort the process.
        atexit.register(self.close)

    def submit(self, function: Callable[..., Result], *args: Any) -> Task[Result]:
        """Queues a call. Tasks start in the order in which they were submitted."""
        task = Task(function, args)
        self._tasks.put(task)
        if self._closed:
            self._abandon_queued()
        return task

    def help(self) -> bool:
        """Runs the next queued task here; False if there is none."""
        try:
            task = self._tasks.get_nowait()
        except Empty:
            return False
        if task is None:
            self._tasks.put(None)  # it is for one of the threads
            return False
        task.run()
        self._last_help = time.monotonic()
        return True

    def close(self) -> None:
        """Waits for the tasks under way; no thread is left afterwards, and nobody waits for a task that was not run."""
        atexit.unregister(self.close)
        self._closed = True
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():  # it may have had the last reference to a loader
                thread.join()
        self._abandon_queued()

    def forget(self) -> None:
        """Leaves the threads to the process that this one was forked from."""
        atexit.unregister(self.close)

    def _abandon_queued(self) -> None:
        ends = 0
        with contextlib.suppress(Empty):
            while True:
                if (task := self._tasks.get_nowait()) is None:
                    ends += 1
                else:
                    task.abandon()
        for _ in range(ends):  # they are for the threads, of which this may be one
            self._tasks.put(None)

    def _work(self, started: threading.Barrier, steps_aside: bool) -> None:
        torch.get_num_threads()  # a thread's first call copies the global number: from here on it has its own
        torch.set_num_threads(1)
        use(self._device)
        try:
            started.wait()
        except threading.BrokenBarrierError:
            return
        while (task := self._tasks.get()) is not None:
            task.run()
            del task  # its result would be kept until the next task comes
            while steps_aside and time.monotonic() - self._last_help < self.STEP_ASIDE:
                time.sleep(self.STEP_ASIDE / 2)


class WorkerPool:
    """The workers of an engine: started when first used, kept between epochs, ended with the engine.

    Args:
        owner: the engine; when it is garbage collected the threads end.
        threads: how many.
        device: of the batches.
    """

    def __init__(self, owner: object, threads: int, device: torch.device = CPU) -> None:
        self._threads, self._device = threads, device
        torch.get_num_threads()  # pins the torch thread count of the thread that builds the engine
        self._owner = weakref.ref(owner)
        self._workers: Workers | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None
        self._process = os.getpid()

    def start(self) -> Workers:
        """The running workers. A forked process, which has none of the threads, gets its own."""
        if self._process != os.getpid():
            self._process = os.getpid()
            if self._finalizer is not None and self._workers is not None:
                self._finalizer.detach()
                self._workers.forget()
            self._finalizer = self._workers = None
        if self._workers is None:
            self._workers = Workers(self._threads, torch.get_num_threads(), self._device)
            owner = self._owner()
            assert owner is not None
            self._finalizer = weakref.finalize(owner, self._workers.close)
        return self._workers

    def close(self) -> None:
        """Ends the threads, if there are any."""
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = self._workers = None


def in_order(
    workers: Workers, items: Iterator[Item], function: Callable[[Item], Result], *, ahead: int, help: bool = False
) -> Generator[tuple[Item, Result], None, None]:
    """Yields each item with what the function returns for it, in order, computed by workers.

    Args:
        workers: who computes.
        items: taken `ahead` of what is yielded.
        function: runs in a worker.
        ahead: the most tasks under way.
        help: whether to run queued tasks here instead of waiting.
    """
    waiting: deque[tuple[Item, Task[Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, workers.submit(function, item)))
            if len(waiting) >= ahead:
                while help and not waiting[0][1].done and workers.help():
                    pass
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        for _, task in waiting:
            task.cancel()


def _result(item: Item, task: Task[Result]) -> tuple[Item, Result]:
    return item, task.result()
