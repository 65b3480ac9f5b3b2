"""Grain: an ArrayRecord file, read by its DataLoader."""

import io
import random
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from bench.peers.augment import BatchedDecoding, image_transform
from bench.peers.job import BENCH_INSTALL, Batches, Contestant, Files, Job, Samples

LABEL_BYTES = 8  # a record is the label and the JPEG


def _source(job: Job) -> Any:
    import grain

    return grain.sources.ArrayRecordDataSource(str(job.files / "grain.array_record"))


def _sampler(count: int) -> Any:
    import grain

    return grain.samplers.IndexSampler(count, grain.sharding.NoSharding(), shuffle=True, num_epochs=None, seed=0)


def _batches(loader: Any) -> Batches:
    return ((torch.from_numpy(image), torch.from_numpy(label)) for image, label in loader)


def grain(job: Job) -> Batches:
    """A worker decodes and augments whole batches: record by record took longer."""
    import grain as library

    class Work(library.transforms.Map):
        work = None

        def map(self, element: Any) -> Any:
            if self.work is None:
                torch.set_num_threads(1)
                torch.seed()  # new processes would all draw the same crops
                self.work = BatchedDecoding(job)
            images, labels = self.work([(r[LABEL_BYTES:], int.from_bytes(r[:LABEL_BYTES], "little")) for r in element])
            return images.numpy(), labels.numpy()

    source = _source(job)
    loader = library.DataLoader(
        data_source=source,
        sampler=_sampler(len(source)),
        operations=[library.transforms.Batch(job.batch_size, drop_remainder=True, batch_fn=list), Work()],
        worker_count=job.threads,
        worker_buffer_size=4,
        read_options=library.ReadOptions(num_threads=0),
    )
    return _batches(loader)


def grain_defaults(job: Job) -> Batches:
    import grain as library

    work = image_transform(job)

    class Load(library.transforms.Map):
        def map(self, element: bytes) -> Any:
            with Image.open(io.BytesIO(element[LABEL_BYTES:])) as image:
                return work(image.convert("RGB")).numpy(), int.from_bytes(element[:LABEL_BYTES], "little")

    source = _source(job)
    loader = library.DataLoader(
        data_source=source,
        sampler=_sampler(len(source)),
        operations=[Load(), library.transforms.Batch(job.batch_size, drop_remainder=True)],
    )
    return _batches(loader)


def write_grain(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    """Writes one file that can be read at random: a record per group, as its documentation shows."""
    from array_record.python.array_record_module import ArrayRecordWriter

    records = ArrayRecordWriter(str(target), "group_size:1")
    for path, label in random.Random(0).sample(images, len(images)):
        records.write(label.to_bytes(LABEL_BYTES, "little") + path.read_bytes())
    records.close()


_SETUP: dict[str, Any] = {
    "works": ("train", "pixels"),
    "reads": "ArrayRecord, the same JPEG",
    "needs": "grain",
    "install": BENCH_INSTALL,
}

CONTESTANTS = (
    Contestant("Grain", grain, decoder="torchvision.io", runs_in="{threads} worker processes", **_SETUP),
    Contestant(
        "Grain, defaults", grain_defaults, decoder="Pillow", runs_in="the loop's own process, 16 to read", **_SETUP
    ),
)

FILES = (Files("grain.array_record", "grain", write_grain),)
