"""timm's own loader, `create_dataset` and `create_loader`, on a CPU; with the crop of this work instead of timm's."""

from typing import Any

import torch

from bench.peers.job import BENCH_INSTALL, Batches, Contestant, Job, forever


def timm_loader(job: Job, **options: Any) -> Any:
    """Its loader, with more options of `create_loader`."""
    from timm.data import create_dataset, create_loader
    from timm.data.loader import fast_collate
    from timm.data.transforms import ToNumpy
    from torchvision import transforms

    data = create_dataset("", root=str(job.data), split="train", is_training=True)
    pixels = job.kind == "pixels"
    # Its prefetcher also normalises, so a batch of pixels is made without it.
    options = {"use_prefetcher": False, "collate_fn": fast_collate, **options} if pixels else options
    loader: Any = create_loader(
        data,
        input_size=(3, job.size, job.size),
        batch_size=job.batch_size,
        is_training=True,
        **{"device": torch.device("cpu"), **options},
    )
    if pixels:
        data.transform = _to_hwc
    else:
        crop_and_flip = [transforms.RandomCrop(job.size, 4, pad_if_needed=True), transforms.RandomHorizontalFlip()]
        data.transform = transforms.Compose([*crop_and_flip, ToNumpy()])
    return loader


def _to_hwc(image: Any) -> Any:
    import numpy as np

    return np.array(image)


def timm(job: Job) -> Batches:
    """A worker per core; batches are normalised as a whole, in the loop's own process."""
    loader = timm_loader(job, num_workers=job.threads)
    return forever(loader)


def timm_defaults(job: Job) -> Batches:
    loader = timm_loader(job)
    return forever(loader)


_SETUP: dict[str, Any] = {
    "works": ("train", "pixels"),
    "reads": "files",
    "decoder": "Pillow",
    "needs": "timm",
    "install": BENCH_INSTALL,
}

CONTESTANTS = (
    Contestant("timm", timm, runs_in="{threads} worker processes", **_SETUP),
    Contestant("timm, defaults", timm_defaults, runs_in="1 worker process", **_SETUP),
)
