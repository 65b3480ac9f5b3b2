"""FFCV: its own files, and compiled pipelines."""

from typing import Any

import numpy as np

from bench.peers.job import Batches, Contestant, Job, Make, forever
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
        return forever(lambda: loader)

    return make


CONTESTANTS = (
    Contestant("FFCV jpg", _ffcv("jpg"), ("train", "pixels", "photos"), "ffcv", FFCV_INSTALL),
    Contestant("FFCV raw", _ffcv("raw"), ("train", "pixels", "photos"), "ffcv", FFCV_INSTALL),
)
