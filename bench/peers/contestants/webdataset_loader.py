"""webdataset: tar files."""

import random
from pathlib import Path
from typing import Any

from bench.peers.augment import BatchedDecoding, image_transform
from bench.peers.contestants.torchvision_loader import as_it_is
from bench.peers.job import BENCH_INSTALL, Batches, Contestant, Files, Job, Samples, forever


def _shards(job: Job) -> list[str]:
    return sorted(map(str, (job.files / "webdataset").glob("*.tar")))


def webdataset(job: Job) -> Batches:
    """Shards drawn with replacement, as its documentation recommends; a worker decodes and augments whole batches."""
    import webdataset as wds

    data = (
        wds.WebDataset(_shards(job), resampled=True, shardshuffle=True, nodesplitter=wds.split_by_node)
        .shuffle(1000)
        .to_tuple("jpg", "cls")
        .map_tuple(as_it_is, int)
        .batched(job.batch_size, collation_fn=as_it_is)
        .map(BatchedDecoding(job))
    )
    loader: Any = wds.WebLoader(data, batch_size=None, num_workers=job.threads, persistent_workers=True)
    return forever(loader)


def webdataset_defaults(job: Job) -> Batches:
    """The first example of its documentation."""
    import webdataset as wds

    data = (
        wds.WebDataset(_shards(job), shardshuffle=100)
        .shuffle(1000)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(image_transform(job), as_it_is)
        .batched(job.batch_size)
    )
    loader: Any = wds.WebLoader(data, batch_size=None)
    return forever(loader)


def write_webdataset(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    """Writes shards of 10,000 images in random order."""
    import webdataset as wds

    target.mkdir()
    shuffled = random.Random(0).sample(images, len(images))
    with wds.ShardWriter(str(target / "%05d.tar"), maxcount=10_000, verbose=0) as sink:
        for number, (path, label) in enumerate(shuffled):
            sink.write({"__key__": f"{number:08d}", "jpg": path.read_bytes(), "cls": label})


_SETUP: dict[str, Any] = {"works": ("train", "pixels"), "needs": "webdataset", "install": BENCH_INSTALL}

CONTESTANTS = (
    Contestant(
        "webdataset",
        webdataset,
        reads="tar files",
        decoder="torchvision.io",
        runs_in="{threads} worker processes",
        replaces=True,
        **_SETUP,
    ),
    Contestant(
        "webdataset, defaults",
        webdataset_defaults,
        reads="tar files",
        decoder="Pillow",
        runs_in="the loop's own process",
        **_SETUP,
    ),
)

FILES = (Files("webdataset", "webdataset", write_webdataset),)
