"""This project's loaders: every store, every engine."""

from typing import Any

import torch

from bench.peers.job import Batches, Contestant, Job, Make, forever
from feedline.pipeline.dataset import turbojpeg


def _ours(store: Any, engine: Any) -> Make:
    def make(job: Job) -> Batches:
        from feedline import Loader

        plain: dict[str, Any] = {"dtype": torch.uint8, "augment": ("center",)}
        options = plain if job.kind == "pixels" else {"image_size": job.size if job.kind == "photos" else None}
        # The other loaders read the folder train/: all train images of the source, which is its own split.
        loader = Loader(job.data, store=store, engine=engine, batch_size=job.batch_size, threads=job.threads, **options)
        return forever(loader)

    return make


_READS = {"files": "files", "jpeg": "pack, the same JPEG", "raw": "pack, pixels"}


def _decoder(store: str, engine: str) -> str:
    if store == "raw" or engine == "dali":
        return "none" if store == "raw" else "DALI"
    return "simplejpeg (libjpeg-turbo)" if turbojpeg.functions() is None else "libturbojpeg"


CONTESTANTS = tuple(
    Contestant(
        f"ours {store} {engine}",
        _ours(store, engine),
        ("train", "pixels", "photos"),
        _READS[store],
        _decoder(store, engine),
        "{threads} threads",
        "nvidia.dali" if engine == "dali" else "torch",
        ours=True,
    )
    for store in ("files", "jpeg", "raw")
    for engine in ("torch", "dali")
)
