"""Runs a list of runs, one or several at a time."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType

from bench.variants.runs import Run
from feedline.pipeline.errors import InputError

POLL_S = 0.2
SAVING_S = 600.0  # how long a run may take to save when it is asked to stop

Job = tuple[Run, "subprocess.Popen[bytes]"]


def run_all(runs: Sequence[Run], *, jobs: int, threads: int, on_end: Callable[[Run], None]) -> None:
    """Runs those that are not done yet, in order. On Ctrl-C or SIGTERM all are asked to save and stop.

    Args:
        runs: what to run.
        jobs: how many at a time; with more than one, each has `threads` cores for itself.
        threads: of torch and of the loader, in each run.
        on_end: called with each run that ended.

    Raises:
        InputError: if there are fewer cores than `jobs * threads`.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after the runs have stopped.
    """
    cores = _cores(jobs, threads)
    waiting = [run for run in runs if not run.is_done()]
    slots: dict[int, Job] = {}
    with _terminated_as_ctrl_c():
        try:
            while waiting or slots:
                for slot in range(jobs):
                    if slot not in slots and waiting:
                        with _pinned(cores[slot]) if cores else nullcontext():
                            run = waiting.pop(0)
                            slots[slot] = run, run.start(threads)
                time.sleep(POLL_S)
                for slot, (run, process) in list(slots.items()):
                    if (status := process.poll()) is not None:
                        del slots[slot]
                        run.finish(status)
                        on_end(run)
        finally:
            _stop(process for _, process in slots.values())


def _cores(jobs: int, threads: int) -> "list[set[int]]":
    """The cores of each job; none if there is one job, or no way to say which cores it gets."""
    if jobs < 1 or threads < 1:
        raise InputError(f"`jobs={jobs}` and `torch_threads={threads}` must be at least 1")
    if jobs == 1 or not hasattr(os, "sched_setaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    if jobs * threads > len(cores):
        raise InputError(f"`jobs={jobs}`: {jobs} runs of {threads} thread(s) need more than the {len(cores)} cores")
    return [set(cores[slot * threads : (slot + 1) * threads]) for slot in range(jobs)]


@contextmanager
def _pinned(cores: "set[int]") -> Iterator[None]:
    """What is started inside has these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def _terminated_as_ctrl_c() -> Iterator[None]:
    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(processes: "Iterator[subprocess.Popen[bytes]]") -> None:
    """Asks each to save and stop, and waits."""
    left = list(processes)
    for process in left:
        process.terminate()
    for process in left:
        try:
            process.wait(SAVING_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds a folder for one series; its runs hold it too, should this process be killed.

    Raises:
        InputError: if another series, or a run that it left, works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(f"`out={folder}`: another series, or a run that it left, works there") from error
        os.set_inheritable(file.fileno(), True)
        yield
