"""The rung feed: the loader alone, up to batches on the device."""

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from bench.ladder.measure import host_to_device_gb_per_s, seconds_per_call
from bench.ladder.report import Report
from bench.ladder.settings import Settings
from bench.peers.contestants.timm_loader import timm_loader
from bench.peers.contestants.torchvision_loader import AHEAD, data_loader, folder
from bench.peers.job import Job, forever, installed
from feedline import Dataset
from feedline.cli.build import make_loader
from feedline.pipeline.engines import dali
from feedline.pipeline.engines.choose import make_engine
from feedline.pipeline.engines.types import ENGINES
from feedline.pipeline.loader import Batch
from feedline.pipeline.stores import open_store, resolve_store, stores_on
from feedline.training.bench import endless, measure_round
from feedline.training.config import Config
from feedline.training.meter import StallMeter


def run(settings: Settings) -> None:
    """Images/s and CPU time for every store, engine, decoder and number of threads, and for other loaders."""
    report, device, dataset = settings.report("feed"), settings.on, Dataset(settings.data)
    if device.type == "cuda":
        report.row(partial(_to_device, device, settings.seconds), what="host to device, pinned")
    counts = [n for n in (1, 2, 4, 8, 16) if n <= settings.cores]
    threads = sorted({counts[-1], settings.cores} if settings.tiny else {*counts, settings.cores})
    # The most threads first, then other loaders: they matter most, in case the time runs out.
    _stores(report, settings, dataset, threads.pop())
    _augmentation(report, settings, dataset)
    for name, loader, ahead in _others(settings, dataset):
        report.row(partial(_alone, loader, settings, ahead), loader=name)
    for count in reversed(threads):
        _stores(report, settings, dataset, count)
    report.close()


def _stores(report: Report, settings: Settings, dataset: Dataset, threads: int) -> None:
    on_gpu = settings.on.type == "cuda"
    for store, engine in itertools.product(stores_on(settings.on), ENGINES):
        if engine == "dali" and dali.problem():
            continue
        decodes = store in ("files", "jpeg") and engine == "dali" and on_gpu
        for decode in ("mixed", "cpu") if decodes else ("cpu",):
            what: dict[str, Any] = {"store": store, "engine": engine, "decode": decode, "threads": threads}
            config = settings.config(**what, amp=on_gpu)
            report.row(partial(loader_speed, config, dataset, settings), **what)


def _to_device(device: torch.device, seconds: float) -> dict[str, Any]:
    return {"GB_per_s": host_to_device_gb_per_s(device, seconds)}


def _alone(batches: Iterator[Batch], settings: Settings, ahead: int) -> dict[str, Any]:
    """Images/s of a loader with worker processes. Their CPU time is not known here."""
    return {"images_per_s": _rate(batches, settings, ahead)["images_per_s"]}


def loader_speed(config: Config, dataset: Dataset, settings: Settings) -> dict[str, Any]:
    """Images/s and CPU microseconds per image of the train loader of a configuration."""
    loader = make_loader(config, dataset, "train", settings.on)
    try:
        return _rate(endless(loader), settings, loader.ahead)
    finally:
        loader.close()


def _rate(batches: Iterator[Batch], settings: Settings, ahead: int) -> dict[str, Any]:
    """Images/s, and CPU microseconds of this process per image, behind the batches that were made `ahead`."""
    device, warm_up = settings.on, ahead + 2
    speed, cpu_us, _ = measure_round(
        lambda: len(next(batches)[1]), device, settings.seconds, warm_up, StallMeter(device)
    )
    return {"images_per_s": speed, "cpu_us_per_image": cpu_us}


def _augmentation(report: Report, settings: Settings, dataset: Dataset) -> None:
    """Cost of crop, mirror and normalise in the torch engine, with the pixels already on the device."""
    device = settings.on
    store = resolve_store("resident", dataset, device)
    loader = make_loader(settings.config(store=store, engine="torch"), dataset, "train", device)
    batch, engine = loader.plan.batch(0, 0), make_engine("torch", open_store(store, dataset, device), loader.spec)

    def once() -> None:
        for _ in engine.run([batch]):
            pass

    def measure() -> dict[str, Any]:
        return {"us_per_image": seconds_per_call(once, device, seconds=settings.seconds) / len(batch) * 1e6}

    report.row(measure, what=f"{store}: crop, mirror, normalise on {device.type}, one batch at a time")


def _others(settings: Settings, dataset: Dataset) -> Iterator[tuple[str, Iterator[Batch], int]]:
    """torchvision's DataLoader with up to 16 workers and, if installed, timm's prefetching loader.

    Each with its name and the number of batches that it makes ahead.
    """
    device, workers, batch_size = settings.on, min(16, settings.cores), settings.config().loader.batch_size
    job = Job(settings.data, settings.out, "train", batch_size, workers, settings.side(dataset))

    def torchvision() -> Iterator[Batch]:
        for images, labels in forever(data_loader(folder(job), job, pin_memory=device.type == "cuda")):
            yield images.to(device, non_blocking=True), labels.to(device, non_blocking=True)

    yield f"torchvision DataLoader, {workers} workers", torchvision(), workers * AHEAD
    if device.type == "cuda" and installed("timm"):
        prefetching = timm_loader(job, device=device, num_workers=workers, pin_memory=True)
        yield f"timm prefetching loader, {workers} workers", forever(prefetching), 2 * workers
