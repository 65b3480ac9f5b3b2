"""Timing, and the peak rates of a device."""

from collections.abc import Callable
from typing import Any

import torch

from feedline.training.bench import measure_round
from feedline.training.meter import StallMeter

FORWARD_GFLOP = 4.45  # one 64x64 image through this ResNet18; a training step costs about three times this


def seconds_per_call(work: Callable[[], Any], device: torch.device, *, seconds: float) -> float:
    """Mean time of a call over at least `seconds`, after three calls of warm-up."""

    def once() -> int:
        work()
        return 1

    calls_per_s, *_ = measure_round(once, device, seconds, 3, StallMeter(device))
    return 1 / calls_per_s


def matmul_tflops(device: torch.device, dtype: torch.dtype, seconds: float) -> float:
    """Measured TFLOP/s of the product of two square matrices."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, n, device=device, dtype=dtype)
    return 2 * n**3 / seconds_per_call(lambda: a @ b, device, seconds=seconds) / 1e12


def memory_gb_per_s(device: torch.device, seconds: float) -> float:
    """GB/s read and written while a large tensor is copied."""
    count = (1 << 30) if device.type == "cuda" else (1 << 26)
    source = torch.empty(count, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / seconds_per_call(lambda: target.copy_(source), device, seconds=seconds) / 1e9


def host_to_device_gb_per_s(device: torch.device, seconds: float) -> float:
    """GB/s of copies from pinned memory."""
    source = torch.empty(1 << 28, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device=device)
    work = lambda: target.copy_(source, non_blocking=True)  # noqa: E731
    return source.numel() / seconds_per_call(work, device, seconds=seconds) / 1e9
