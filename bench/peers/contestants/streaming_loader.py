"""mosaicml-streaming: MDS shards in a local folder."""

import random
from pathlib import Path
from typing import Any

from bench.peers.augment import BatchedDecoding, image_transform
from bench.peers.job import Batches, Contestant, Files, Job, Samples, forever

STREAMING_INSTALL = "pip install -e '.[bench-streaming]'  (holds numpy below 2.2)"


class _Collate:
    """Decodes and augments a batch as a whole, in the worker."""

    def __init__(self, job: Job) -> None:
        self.work = BatchedDecoding(job)

    def __call__(self, items: list[dict[str, Any]]) -> Any:
        return self.work([(item["image"], item["label"]) for item in items])


def streaming(job: Job) -> Batches:
    """The JPEGs are stored as bytes, so that torchvision.io can decode them: as `jpeg`, Pillow would."""
    from streaming import StreamingDataLoader, StreamingDataset

    data = StreamingDataset(local=str((job.files / "mds-bytes").resolve()), batch_size=job.batch_size, shuffle=True)
    loader: Any = StreamingDataLoader(
        data,
        batch_size=job.batch_size,
        drop_last=True,
        num_workers=job.threads,
        prefetch_factor=4,
        persistent_workers=True,
        collate_fn=_Collate(job),
    )
    return forever(loader)


def streaming_defaults(job: Job) -> Batches:
    """As its quick start: the `jpeg` encoding, and a transform in `__getitem__`."""
    from streaming import StreamingDataLoader, StreamingDataset

    work = image_transform(job)

    class Images(StreamingDataset):
        def __getitem__(self, at: Any) -> Any:
            item = super().__getitem__(at)
            return work(item["image"].convert("RGB")), item["label"]

    data = Images(local=str((job.files / "mds-jpeg").resolve()), batch_size=job.batch_size, shuffle=True)
    loader: Any = StreamingDataLoader(data, batch_size=job.batch_size)
    return forever(loader)


def _write(encoding: str, images: Samples, target: Path) -> None:
    from PIL import Image
    from streaming import MDSWriter

    shuffled = random.Random(0).sample(images, len(images))
    with MDSWriter(out=str(target), columns={"image": encoding, "label": "int"}) as shards:
        for path, label in shuffled:
            if encoding == "bytes":
                shards.write({"image": path.read_bytes(), "label": label})
            else:
                with Image.open(path) as image:  # stored as the file's bytes
                    shards.write({"image": image, "label": label})


def write_bytes(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    _write("bytes", images, target)


def write_jpeg(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    _write("jpeg", images, target)


_SETUP: dict[str, Any] = {
    "works": ("train", "pixels"),
    "reads": "MDS shards, the same JPEG",
    "needs": "streaming",
    "install": STREAMING_INSTALL,
}

CONTESTANTS = (
    Contestant("Streaming", streaming, decoder="torchvision.io", runs_in="{threads} worker processes", **_SETUP),
    Contestant("Streaming, defaults", streaming_defaults, decoder="Pillow", runs_in="the loop's own process", **_SETUP),
)

FILES = (Files("mds-bytes", "streaming", write_bytes), Files("mds-jpeg", "streaming", write_jpeg))
