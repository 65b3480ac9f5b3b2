"""The rung profile: where the time goes, in the first step of each size of the images, and in those that follow."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.ladder.compute import COMPILED
from bench.ladder.settings import Settings
from feedline import Dataset
from feedline.cli.build import make_loader
from feedline.model import resnet18
from feedline.pipeline.loader import Batch, Loader
from feedline.training.bench import LoopStep, endless, synchronize
from feedline.training.config import Config
from feedline.training.step import TrainStep

Step = Callable[[torch.Tensor, torch.Tensor], object]
STEPS = 40
LATER = 20
PROFILED = 6
WAYS = (
    *(("eager", "sgd"), ("default", "sgd"), ("reduce-overhead", "sgd")),
    *(("default", "muon"), ("reduce-overhead", "muon")),
)
KINDS = (  # by words in a kernel's name, the first that fits
    ("norms, additions, ReLU", ("triton", "batch_norm", "batchnorm", "bn_", "elementwise", "clamp")),
    ("convolutions", ("gemm", "xmma", "cudnn", "conv", "cutlass", "nvjet")),
    ("optimizer", ("multi_tensor",)),
    ("loader", ("dali",)),
    ("copies", ("Memcpy", "Memset")),
)


# How cuDNN searches for convolutions: its limit, and whether torch frees its cached memory behind each search.
SEARCHES: dict[str, tuple[int | None, bool]] = {
    "10 algorithms, torch's default": (10, True),
    "3 algorithms": (3, True),
    "10 algorithms, memory kept": (10, False),
    "none": (None, True),
}


def run(settings: Settings) -> None:
    """First steps, split into waiting for the first batch and the step; then steps alone and with the loader.

    First steps are of batches of 1,024 images, as in the recipe `fast`. On a GPU they are measured also with other ways
    of searching, in batches of other lengths, since torch keeps what it found.
    """
    report, device, dataset = settings.report("profile"), settings.on, Dataset(settings.data)
    sizes = [16, 24] if settings.tiny else [32, 40, 48]
    by_epoch = ",".join(f"{size}@{k}" for k, size in enumerate(sizes))
    config = settings.config(amp=True, image_size=by_epoch, batch_size=16 if settings.tiny else 1024)
    with closing(make_loader(config, dataset, "train", device)) as loader:
        step = _step(config, dataset, device)
        for epoch, size in enumerate(sizes):
            report.row(partial(_first, loader, epoch, step), what="first batch and step", pixels=size)
        for number, name in enumerate(SEARCHES if device.type == "cuda" else (), 1):
            for epoch, size in enumerate(sizes):
                fewer = number if settings.tiny else 8 * number
                searched = partial(_searched, SEARCHES[name], loader, epoch, step, fewer)
                report.row(searched, what="first step", search=name, pixels=size)
    for mode, optimizer in WAYS if device.type == "cuda" else WAYS[:1]:
        config = settings.config(amp=True, optimizer=optimizer, **COMPILED[mode])
        with closing(make_loader(config, dataset, "train", device)) as loader, closing(endless(loader)) as batches:
            one = next(batches)
            step = _step(config, dataset, device)
            for name, source in (("alone", itertools.repeat(one)), ("with the loader", batches)):
                kernels = device.type == "cuda" and optimizer == "sgd"  # Muon's are named as those of the network
                report.row(partial(_steps, source, step, device, kernels), what=name, compile=mode, optimizer=optimizer)
    report.close()


def _step(config: Config, dataset: Dataset, device: torch.device) -> LoopStep:
    return LoopStep(config, TrainStep(config, resnet18(len(dataset.classes)), device, 0.01), device)


def _first(loader: Loader, epoch: int, step: Step) -> dict[str, float]:
    """Seconds until the first batch of an epoch, of the first step on it, and of a later one (the mean of some)."""
    loader.set_epoch(epoch)
    with closing(endless(loader)) as batches:
        found: list[Batch] = []
        waited = _seconds(lambda: found.append(next(batches)), loader.device)
        return {"batch_s": waited, **_first_and_later(lambda: step(*found[0]), loader.device)}


def _searched(how: tuple[int | None, bool], loader: Loader, epoch: int, step: Step, fewer: int) -> dict[str, float]:
    """Seconds of the first step on a batch that lacks its last images, and of a later one."""
    cudnn, keep = torch.backends.cudnn, getattr(torch._C, "_cudnn_set_conv_benchmark_empty_cache", lambda _: None)
    loader.set_epoch(epoch)
    with closing(endless(loader)) as batches:
        images, labels = next(batches)
        try:
            cudnn.benchmark, cudnn.benchmark_limit = how[0] is not None, how[0] or 10
            keep(how[1])
            return _first_and_later(lambda: step(images[:-fewer], labels[:-fewer]), loader.device)
        finally:
            cudnn.benchmark, cudnn.benchmark_limit = True, 10
            keep(True)


def _first_and_later(work: Callable[[], object], device: torch.device) -> dict[str, float]:
    """Seconds of a first call, and the mean of `LATER` calls behind it and one of warm-up."""
    first, _ = (_seconds(work, device) for _ in range(2))
    later = _seconds(lambda: [work() for _ in range(LATER)], device) / LATER
    return {"step_s": first, "later_step_s": later}


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - started


def _steps(batches: Iterator[Batch], step: Step, device: torch.device, kernels: bool) -> dict[str, Any]:
    """Milliseconds of a step: as a whole, of the host in it, of its thread's CPU time, and of each kind of kernel."""
    for batch in itertools.islice(batches, STEPS // 4):
        step(*batch)
    synchronize(device)
    started, cpu, host, images = time.perf_counter(), time.thread_time(), 0.0, 0
    for batch in itertools.islice(batches, STEPS):
        before = time.perf_counter()
        step(*batch)
        host += time.perf_counter() - before
        images += len(batch[1])
    cpu = time.thread_time() - cpu
    synchronize(device)
    whole = time.perf_counter() - started
    row: dict[str, Any] = {
        "images_per_s": images / whole,
        "step_ms": whole / STEPS * 1e3,
        "host_ms": host / STEPS * 1e3,
    }
    return {**row, "thread_cpu_ms": cpu / STEPS * 1e3, **(_kernels(batches, step) if kernels else {})}


def _kernels(batches: Iterator[Batch], step: Step) -> dict[str, float]:
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for batch in itertools.islice(batches, PROFILED):
            step(*batch)
        torch.cuda.synchronize()
    events = [(e.key, e.self_device_time_total) for e in profiler.key_averages() if e.device_type.name == "CUDA"]
    return {f"{kind}, ms": us / PROFILED / 1e3 for kind, us in by_kind(events).items()}


def by_kind(events: list[tuple[str, float]]) -> dict[str, float]:
    """Sums of times by the kind of kernel. Ranges that torch marks, around kernels, are left out."""
    sums: dict[str, float] = {}
    for name, us in events:
        if not name.startswith(("##", "Optimizer.", "ProfilerStep")):
            kinds = (kind for kind, words in KINDS if any(word in name for word in words))
            kind = next(kinds, "others")
            sums[kind] = sums.get(kind, 0.0) + us
    return sums
