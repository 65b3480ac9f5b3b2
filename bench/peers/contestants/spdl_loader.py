"""SPDL: threads and FFmpeg. It has no defaults to measure: the number of threads must be given."""

from collections.abc import Iterator
from typing import Any

import torch

from bench.peers.augment import BatchedAugmentation
from bench.peers.job import Batches, Contestant, Job

SPDL_INSTALL = "apt install libavdevice59 libavfilter8 && pip install -e '.[bench]'  (SPDL needs the FFmpeg libraries)"


def spdl(job: Job) -> Batches:
    import spdl.io
    from spdl.pipeline import PipelineBuilder
    from torchvision.datasets import ImageFolder

    torch.set_num_threads(1)
    samples = ImageFolder(str(job.data / "train")).samples
    augment = BatchedAugmentation(job)

    def order() -> Iterator[tuple[str, int]]:
        while True:
            for i in torch.randperm(len(samples)).tolist():
                yield samples[i]

    def load(batch: list[tuple[str, int]]) -> Any:
        paths, labels = [path for path, _ in batch], torch.tensor([label for _, label in batch])
        buffer = spdl.io.load_image_batch(paths, width=None, height=None, pix_fmt="rgb24")
        pixels = torch.from_numpy(spdl.io.to_numpy(buffer))
        if job.kind == "pixels":
            return pixels, labels
        return augment(pixels.permute(0, 3, 1, 2)), labels

    builder: Any = PipelineBuilder()
    pipeline: Any = (
        builder.add_source(order())
        .aggregate(job.batch_size, drop_last=True)
        .pipe(load, concurrency=job.threads)
        .add_sink(3)
        .build(num_threads=job.threads)
    )

    def batches() -> Batches:
        with pipeline.auto_stop():
            yield from pipeline

    return batches()


CONTESTANTS = (
    Contestant("SPDL", spdl, ("train", "pixels"), "files", "FFmpeg", "{threads} threads", "spdl.io", SPDL_INSTALL),
)
