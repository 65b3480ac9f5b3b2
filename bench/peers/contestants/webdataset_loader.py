"""webdataset: tar files."""

from typing import Any

from bench.peers.augment import image_transform
from bench.peers.job import BENCH_INSTALL, Batches, Contestant, Job, forever


def webdataset(job: Job) -> Batches:
    import webdataset as wds

    shards = sorted(map(str, (job.files / "webdataset").glob("*.tar")))
    data = (
        wds.WebDataset(shards, resampled=True, shardshuffle=True, nodesplitter=wds.split_by_node)
        .shuffle(1000)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(image_transform(job), lambda label: label)
        .batched(job.batch_size)
    )
    loader: Any = wds.WebLoader(data, batch_size=None, num_workers=job.threads, persistent_workers=True)
    return forever(lambda: loader)


CONTESTANTS = (Contestant("webdataset", webdataset, ("train", "pixels"), "webdataset", BENCH_INSTALL),)
