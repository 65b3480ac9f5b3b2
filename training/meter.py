"""Measures stall, time and memory of a loop without slowing it down, and describes the machine."""

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
    """Measures how many seconds the model waited for the loader.

    On the CPU that is the time inside `next()`. On a GPU the host runs ahead, so waiting in `next()` costs nothing
    while the GPU still has work. There it is the time between the end of a step and the start of the next, measured
    with CUDA events, which are read only when `seconds` is called.

    Args:
        device: the model's device.
        clock: returns seconds; measures the time inside `next()`.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.perf_counter) -> None:
        self._cuda = device.type == "cuda"
        self._clock = clock
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
        """Returns the sum so far. Waits for the GPU."""
        if self._gaps:
            self._gaps[-1][1].synchronize()
            self._host += sum(before.elapsed_time(after) for before, after in self._gaps) / 1000
            self._gaps.clear()
        return self._host


class LapTimer:
    """Measures the seconds between two calls, and how many of them were stall.

    Args:
        meter: measures the stall.
    """

    def __init__(self, meter: StallMeter) -> None:
        self._meter = meter
        self._last, self._stalled = time.perf_counter(), 0.0

    def lap(self) -> tuple[float, float]:
        """Returns the seconds since the last call, and how many of them were stall. Waits for the GPU."""
        stalled = self._meter.seconds()  # waits: the clock is read behind it
        now = time.perf_counter()
        lap = now - self._last, stalled - self._stalled
        self._last, self._stalled = now, stalled
        return lap


def peak_memory(device: torch.device) -> dict[str, float]:
    """Peak memory in MiB: of this process on the host, and allocated by torch on the GPU."""
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss is in bytes on macOS, in KiB elsewhere
    memory = {"host_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale, 1)}
    if device.type == "cuda":
        memory["gpu_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return memory


def hardware(device: torch.device) -> dict[str, Any]:
    """Describes the machine, for the result files of a run."""
    machine: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine |= {"gpu": properties.name, "gpu_gib": round(properties.total_memory / 2**30, 1)}
    return machine


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Versions of the software that a result depends on."""
    installed = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "kernels": "numpy and torch" if compiled.kernels is None else "compiled",
    }
    with contextlib.suppress(PackageNotFoundError):
        installed["dali"] = version("nvidia-dali-cuda130")
    if torch.version.cuda:
        installed["cuda"] = torch.version.cuda
    return installed
