"""Measures a loop without slowing it: how long the model waited for the loader, and what it used."""

import contextlib
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
import torchvision

from feedline.pipeline import compiled
from feedline.pipeline.loader import Batch


class StallMeter:
    """Seconds in which the model waited for the loader.

    On the CPU that is the time inside `next()`. On a GPU the host runs ahead, so waiting in `next()` costs nothing
    while the GPU still has work: there it is the time between the end of a step and the start of the next as the GPU
    itself saw it, by events, read only when `seconds` is called.

    Args:
        device: that the model is on.
        clock: seconds; only read on the CPU.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> None:
        self._cuda, self._clock = device.type == "cuda", clock
        self._host = 0.0
        self._ended: torch.cuda.Event | None = None
        self._gaps: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def watch(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yields the batches and times the wait for each."""
        source = iter(batches)
        while True:
            if self._cuda:
                self._ended = self._now()
            started = self._clock()
            try:
                batch = next(source)
            except StopIteration:
                return
            if self._ended is not None:
                self._gaps.append((self._ended, self._now()))
            else:
                self._host += self._clock() - started
            yield batch

    @staticmethod
    def _now() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self) -> float:
        """The sum so far. Waits for the GPU."""
        if self._gaps:
            self._gaps[-1][1].synchronize()
            self._host += sum(before.elapsed_time(after) for before, after in self._gaps) / 1000
            self._gaps.clear()
        return self._host


def peak_memory(device: torch.device) -> dict[str, float]:
    """MiB: the most that this process had in host memory, and that torch had allocated on the GPU."""
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes there, in KiB elsewhere
    memory = {"host_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)}
    if device.type == "cuda":
        memory["gpu_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return memory


def hardware(device: torch.device) -> dict[str, Any]:
    """What the figures of a run were measured on."""
    found: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"gpu": properties.name, "gpu_gib": round(properties.total_memory / 2**30, 1)}
    return found


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of everything that a result depends on."""
    found = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "kernels": "numpy and torch" if compiled.kernels is None else "compiled",
    }
    with contextlib.suppress(PackageNotFoundError):
        found["dali"] = version("nvidia-dali-cuda130")
    if torch.version.cuda:
        found["cuda"] = torch.version.cuda
    return found
