"""LitData: optimised chunks of JPEGs in a local folder, which it reads in place."""

import random
from pathlib import Path
from typing import Any

import torch

from bench.peers.augment import BatchedAugmentation, tensor_transform
from bench.peers.job import BENCH_INSTALL, Batches, Contestant, Files, Job, Samples, forever


class _Collate:
    """Augments a batch as a whole, in the worker."""

    def __init__(self, job: Job) -> None:
        self.augment = BatchedAugmentation(job)

    def __call__(self, items: list[dict[str, Any]]) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.stack([item["image"] for item in items])
        return self.augment(images), torch.tensor([item["label"] for item in items])


class _Transform:
    """The work on one item, for `StreamingDataset(transform=...)`."""

    def __init__(self, job: Job) -> None:
        self.work = tensor_transform(job)

    def __call__(self, item: dict[str, Any], *_: Any) -> tuple[Any, int]:
        return self.work(item["image"]), item["label"]


def litdata(job: Job) -> Batches:
    from litdata import StreamingDataLoader, StreamingDataset

    data = StreamingDataset(str((job.files / "litdata").resolve()), shuffle=True, drop_last=True)
    loader: Any = StreamingDataLoader(
        data,
        batch_size=job.batch_size,
        num_workers=job.threads,
        prefetch_factor=4,
        persistent_workers=True,
        collate_fn=_Collate(job),
    )
    return forever(loader)


def litdata_defaults(job: Job) -> Batches:
    from litdata import StreamingDataLoader, StreamingDataset

    data = StreamingDataset(str((job.files / "litdata").resolve()), shuffle=True, transform=_Transform(job))
    loader: Any = StreamingDataLoader(data, batch_size=job.batch_size)
    return forever(loader)


def _sample(image: tuple[str, int]) -> dict[str, Any]:
    from litdata import Jpeg

    path, label = image
    return {"image": Jpeg(path=path), "label": label}


def write_litdata(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    """Writes chunks of 64 MB that hold the original JPEGs, in random order."""
    from litdata import optimize

    shuffled = random.Random(0).sample([(str(path.resolve()), label) for path, label in images], len(images))
    optimize(_sample, shuffled, str(target), chunk_bytes="64MB", num_workers=threads, verbose=False)


_SETUP: dict[str, Any] = {
    "works": ("train", "pixels"),
    "reads": "chunks, the same JPEG",
    "decoder": "torchvision.io",
    "needs": "litdata",
    "install": BENCH_INSTALL,
}

CONTESTANTS = (
    Contestant("LitData", litdata, runs_in="{threads} worker processes", **_SETUP),
    Contestant("LitData, defaults", litdata_defaults, runs_in="the loop's own process", **_SETUP),
)

FILES = (Files("litdata", "litdata", write_litdata),)
