"""Runs jobs in worker processes, with results in order."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from feedline.pipeline.errors import WorkerKilledError

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

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
        WorkerKilledError: if a worker was killed from outside.
        Exception: what `function` raised.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(shared,)) as pool:
        remaining = iter(jobs)
        futures = [pool.submit(function, job) for job in islice(remaining, JOBS_AHEAD * workers)]
        try:
            while futures:
                yield futures.pop(0).result()
                futures += [pool.submit(function, job) for job in islice(remaining, 1)]
        except BrokenProcessPool as error:
            raise WorkerKilledError(
                "a worker process was killed from outside, perhaps because memory ran out; try fewer `workers`"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def shared() -> Any:
    """In a worker: what `run_in_order` was given for all jobs."""
    return _shared


def _start_worker(shared: Any) -> None:
    """Leaves Ctrl-C and SIGHUP to the parent, and ends the worker when its parent ends, however that happens."""
    global _shared
    _shared = shared
    for number in (signal.SIGINT, signal.SIGHUP):  # the terminal sends them to all
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, args=(parent.sentinel,), daemon=True).start()
