"""The machine's cores: how many of them torch uses, and who else does."""

import contextlib
import logging
import os
import time
from pathlib import Path

import torch

from feedline.output import counted
from feedline.pipeline.cores import available_cores
from feedline.training.config import RunConfig
from feedline.training.heap import keep_freed_memory
from feedline.training.ranks import Ranks

logger = logging.getLogger(__name__)


def set_up_host(run: RunConfig, device: torch.device) -> None:
    """Sets the number of threads in which torch computes, and the heap of a CPU run; before any loader or model."""
    cores = available_cores()  # torch knows of no control group's quota
    if run.torch_threads is not None:
        torch.set_num_threads(run.torch_threads)
    elif torch.get_num_threads() > cores:
        torch.set_num_threads(cores)
    if device.type == "cpu":
        keep_freed_memory()


def warn_if_busy(device: torch.device, ranks: Ranks) -> None:
    """Warns on stderr if the cores of a CPU run are in use."""
    if device.type == "cpu" and not ranks.is_distributed:
        warning = busy_warning(used_by_others(), os.cpu_count() or 1, torch.get_num_threads())
        if warning:
            logger.warning(warning)


def busy_warning(load: float, cores: int, threads: int) -> str | None:
    """What to say before a run whose threads do not find a core each; None if they do.

    Args:
        load: cores that other programs use.
        cores: of the machine.
        threads: torch threads of this run.
    """
    if load < cores / 4 or threads + load <= cores:
        return None
    advice = (
        "Threads that wait for each other are slow: on two cores two programs with two threads each get a "
        "tenth of the speed, with one thread each all of it. Wait, or use --torch-threads"
        if threads > 1
        else "It gets a part of a core: wait until they end"
    )
    return (
        f"warning: this run has {counted(threads, 'torch thread', 'torch threads')}, and other programs use "
        f"{load:.1f} of {counted(cores, 'core')}. {advice}"
    )


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
