"""The machine's cores: how many of them torch uses, and who else does."""

import contextlib
import getpass
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from feedline.output import counted
from feedline.pipeline.cores import available_cores
from feedline.training.config import RunConfig
from feedline.training.heap import keep_freed_memory
from feedline.training.ranks import Ranks

logger = logging.getLogger(__name__)

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def set_up_host(run: RunConfig, device: torch.device) -> None:
    """Sets the number of threads in which torch computes, and the heap of a CPU run; before any loader or model."""
    cores = available_cores()  # torch knows of no control group's quota
    if run.torch_threads is not None:
        torch.set_num_threads(run.torch_threads)
    elif torch.get_num_threads() > cores:
        torch.set_num_threads(cores)
    if device.type == "cpu":
        keep_freed_memory()


@contextmanager
def cores_in_use(device: torch.device, ranks: Ranks) -> Iterator[None]:
    """Warns on stderr if the cores of a CPU run are in use, and lets runs that start meanwhile know of this one."""
    with registered(_registry()) as others:
        if device.type == "cpu" and ranks.is_first:
            load, cores = 0.0 if ranks.is_distributed else used_by_others(), os.cpu_count() or 1
            if warning := busy_warning(load, cores, torch.get_num_threads() * ranks.local_size, others):
                logger.warning(warning)
        yield


def busy_warning(load: float, cores: int, threads: int, others: int) -> str | None:
    """What to say before a run whose threads do not find a core each; None if they do.

    Args:
        load: cores that other programs use.
        cores: of the machine.
        threads: torch threads of this run, in all its ranks.
        others: runs of this program that live.
    """
    busy = load >= cores / 4 or others > 0
    if not busy or threads + max(load, others) <= cores:
        return None
    run = f", {counted(others, 'other run', 'other runs')} of this program" if others else ""
    advice = (
        "Threads that wait for each other are slow: on two cores two programs with two threads each get a "
        "tenth of the speed, with one thread each all of it. Wait, or use --torch-threads"
        if threads > 1
        else "It gets a part of a core: wait until they end"
    )
    return (
        f"warning: this run has {counted(threads, 'torch thread', 'torch threads')}, and other programs use "
        f"{load:.1f} of {counted(cores, 'core')}{run}. {advice}"
    )


@contextmanager
def registered(folder: Path | None) -> Iterator[int]:
    """Yields how many other processes are registered in a folder, and registers this one until the exit.

    A process holds a lock on a file, which ends with it, however it ends. The ranks of a run share a file, and so the
    lock.
    """
    if fcntl is None or folder is None:
        yield 0
        return
    path = folder / f"{os.getppid() if 'RANK' in os.environ else os.getpid()}.lock"
    others = sum(_is_locked(other) for other in folder.glob("*.lock") if other != path)
    with path.open("a") as file:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_SH)  # waits for a process that tests the file at this moment
        try:
            yield others
        finally:
            path.unlink(missing_ok=True)


def _is_locked(path: Path) -> bool:
    try:
        with path.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    path.unlink(missing_ok=True)  # its process was killed
    return False


def _registry() -> Path | None:
    """A folder of this user for the locks of runs; None if none can be made."""
    with contextlib.suppress(OSError, KeyError):
        folder = Path(tempfile.gettempdir()) / f"feedline-runs-{getpass.getuser()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder if os.access(folder, os.W_OK) else None
    return None


def used_by_others(seconds: float = 0.25) -> float:
    """Cores that other programs use, measured over a moment; 0 where the system does not tell as Linux does.

    The load average would still count a program that ended a minute ago, as the one that the user has just run.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        start = _busy_seconds(), time.process_time(), time.perf_counter()
        time.sleep(seconds)
        busy, own, wall = _busy_seconds() - start[0], time.process_time() - start[1], time.perf_counter() - start[2]
        return max(busy - own, 0) / wall
    return 0.0


def _busy_seconds() -> float:
    """Seconds in which cores were in use, of all cores, since the system's start: proc(5)."""
    user, nice, system = Path("/proc/stat").read_text().split()[1:4]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
