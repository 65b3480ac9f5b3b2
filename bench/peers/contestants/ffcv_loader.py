"""FFCV: its own files, and compiled pipelines. Its defaults (a thread per core, OS cache) are what it recommends."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.peers.job import Batches, Contestant, Files, Job, Make, Samples, forever
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD

FFCV_INSTALL = (
    "apt install libopencv-dev libturbojpeg0-dev pkg-config gcc g++ && pip install -e '.[bench-ffcv]'  (compiles FFCV)"
)


def _ffcv(mode: str) -> Make:
    def make(job: Job) -> Batches:
        from ffcv.fields.decoders import IntDecoder, RandomResizedCropRGBImageDecoder, SimpleRGBImageDecoder
        from ffcv.loader import Loader, OrderOption
        from ffcv.transforms import NormalizeImage, RandomHorizontalFlip, RandomTranslate, ToTensor, ToTorchImage

        scale = 255 * np.array(IMAGENET_MEAN), 255 * np.array(IMAGENET_STD)
        image: list[Any] = [SimpleRGBImageDecoder()]
        if job.kind == "photos":
            image = [RandomResizedCropRGBImageDecoder((job.size, job.size))]
        if job.kind != "pixels":
            image += [RandomHorizontalFlip()]
            image += [RandomTranslate(padding=4)] if job.kind == "train" else []
            image += [NormalizeImage(*scale, np.float32), ToTensor(), ToTorchImage()]
        else:
            image += [ToTensor()]
        loader = Loader(
            str(job.files / f"ffcv-{mode}.beton"),
            batch_size=job.batch_size,
            num_workers=job.threads,
            order=OrderOption.RANDOM,
            os_cache=True,
            drop_last=True,
            pipelines={"image": image, "label": [IntDecoder(), ToTensor()]},
        )
        return forever(loader)

    return make


class _Decoded:
    """The input of FFCV's writer: an indexable sequence of (RGB PIL image, label)."""

    def __init__(self, images: Samples) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.images[index]
        with Image.open(path) as image:
            return image.convert("RGB"), label


def write_ffcv(mode: str, images: Samples, target: Path, threads: int, max_size: int | None = None) -> None:
    """Writes an FFCV file as FFCV's documentation shows: `jpg` encodes the pixels again, with quality 90."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    options = {} if max_size is None else {"max_resolution": max_size}
    fields = {"image": RGBImageField(write_mode=mode, **options), "label": IntField()}
    DatasetWriter(str(target), fields, num_workers=threads).from_indexed_dataset(_Decoded(images))


def _write_jpg(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    write_ffcv("jpg", images, target, threads, max_size)


def _write_raw(images: Samples, target: Path, threads: int, max_size: int | None) -> None:
    write_ffcv("raw", images, target, threads, max_size)


_SETUP: dict[str, Any] = {
    "works": ("train", "pixels", "photos"),
    "runs_in": "{threads} threads",
    "needs": "ffcv",
    "install": FFCV_INSTALL,
}

CONTESTANTS = (
    Contestant("FFCV jpg", _ffcv("jpg"), reads=".beton, JPEG again", decoder="libjpeg-turbo", **_SETUP),
    Contestant("FFCV raw", _ffcv("raw"), reads=".beton, pixels", decoder="none", **_SETUP),
)

FILES = (Files("ffcv-jpg.beton", "ffcv", _write_jpg), Files("ffcv-raw.beton", "ffcv", _write_raw))
