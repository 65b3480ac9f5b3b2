"""Runs jobs in worker processes, with results in order."""

import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from feedline.convert import signals
from feedline.pipeline.errors import InputError, WorkerKilledError

logger = logging.getLogger(__name__)

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

PATIENCE = 0.1  # seconds until a signal is noticed
JOBS_AHEAD = 3  # per worker: keeps all busy while memory holds the results of few jobs

_shared: Any = None  # in a worker: see `run_in_order`


def run_in_order(
    function: Callable[[JobT], ResultT], jobs: Iterable[JobT], workers: int, shared: Any = None
) -> Generator[ResultT, None, None]:
    """Yields the result of every job, in the order of the jobs. Closing the generator cancels what has not started.

    Args:
        function: what to do; importable by its name, as for pickle.
        jobs: its arguments.
        workers: processes; 1 runs the jobs in this one.
        shared: what `shared()` returns in a worker. It reaches each once, forked with it or pickled.

    Raises:
        InputError: if the system starts no more processes.
        WorkerKilledError: if a worker was killed from outside.
        Exception: what `function` raised.
    """
    pool = None if workers == 1 else _make_pool(workers, shared)
    if pool is None:
        _share(shared)
        yield from map(function, jobs)
        return
    with signals.deferred() as deliver, pool:
        remaining = iter(jobs)
        futures: list[Future[ResultT]] = []
        try:
            futures += _submitted(pool, function, islice(remaining, JOBS_AHEAD * workers))
            while futures:
                while not wait(futures[:1], PATIENCE).done:
                    deliver()
                deliver()
                yield futures.pop(0).result()
                futures += _submitted(pool, function, islice(remaining, 1))
        except BrokenProcessPool as error:
            raise WorkerKilledError(
                "a worker process was killed from outside, perhaps because memory ran out; try fewer `workers`"
            ) from error
        finally:
            # Waits for jobs that run: a worker killed while it sends a result leaves this process reading for ever.
            pool.shutdown(cancel_futures=True)


def _make_pool(workers: int, shared: Any) -> ProcessPoolExecutor | None:
    """The worker processes; None, with a warning, if there is no room for the locks by which they take turns."""
    try:
        return ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(shared,))
    except OSError as error:
        logger.warning(
            "no worker processes: their locks do not fit in shared memory, /dev/shm (%s); this process does all the "
            "work, which takes longer",
            error.strerror,
        )
        return None


def _submitted(
    pool: ProcessPoolExecutor, function: Callable[[JobT], ResultT], jobs: Iterable[JobT]
) -> "Iterator[Future[ResultT]]":
    for job in jobs:
        try:
            future = pool.submit(function, job)
        except OSError as error:  # it starts the processes
            raise InputError(f"`workers`: the system starts no more processes ({error.strerror}); use fewer") from error
        yield future


def shared() -> Any:
    """In a worker: what `run_in_order` was given for all jobs."""
    return _shared


def _share(value: Any) -> None:
    global _shared
    _shared = value


def _start_worker(shared: Any) -> None:
    """Leaves Ctrl-C and SIGHUP to the parent, and ends the worker when its parent ends, however that happens."""
    _share(shared)
    for number in (signal.SIGINT, signal.SIGHUP):  # the terminal sends them to all
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, args=(parent.sentinel,), daemon=True).start()
