"""The contestants: each loader is set up as its documentation recommends for speed.

A contestant is a function from a `Job` to an endless iterator of batches. It imports its library inside the function,
because contestants run in separate processes and some may not be installed.
"""

import importlib.util
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD

FFCV_INSTALL = (
    "apt install libopencv-dev libturbojpeg0-dev pkg-config gcc g++ && pip install -e '.[bench-ffcv]'  (compiles FFCV)"
)
BENCH_INSTALL = "pip install -e '.[bench]'"
SPDL_INSTALL = "apt install libavdevice59 libavfilter8 && pip install -e '.[bench]'  (SPDL needs the FFmpeg libraries)"


@dataclass(frozen=True)
class Work:
    """The work that every contestant does.

    Attributes:
        title: for tables and plots.
        size: side of the output in pixels.
        kind: `train` (zero-pad 4, random crop, flip, normalise, float32), `pixels` (decoded uint8 HWC only), or
            `photos` (random resized crop, flip, normalise, float32).
    """

    title: str
    size: int
    kind: str


WORKS = {
    "train": Work("random order, zero-pad 4 + random 64 crop, flip, normalise, float32 NCHW", 64, "train"),
    "pixels": Work("random order, decoded uint8 HWC on the host: what a GPU is fed", 64, "pixels"),
    "photos": Work("random order, random resized crop to 224, flip, normalise, float32 NCHW", 224, "photos"),
}


@dataclass(frozen=True)
class Job:
    """The settings of a contestant.

    Attributes:
        data: the dataset folder; its `train/` is an ImageFolder.
        files: folder with the converted files of other loaders (see `bench.peers.files`).
        work: a key of `WORKS`.
        batch_size: images in a batch.
        threads: threads or worker processes.
    """

    data: Path
    files: Path
    work: str
    batch_size: int
    threads: int

    @property
    def kind(self) -> str:
        return WORKS[self.work].kind

    @property
    def size(self) -> int:
        return WORKS[self.work].size


Batches = Iterator[Any]
Make = Callable[[Job], Batches]


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: e.g. `FFCV raw`.
        make: starts it.
        works: keys of `WORKS` that it can do.
        needs: a module that must be installed.
        install: the command that installs it.
        ours: one of this project's loaders.
        floor: not a loader but a lower bound on the time: only a part of the work.
    """

    name: str
    make: Make
    works: tuple[str, ...]
    needs: str = "torch"
    install: str = ""
    ours: bool = False
    floor: bool = False

    def missing(self) -> bool:
        try:
            return importlib.util.find_spec(self.needs) is None
        except ModuleNotFoundError:  # the package that `needs` is a part of
            return True


def _forever(once: Callable[[], Any]) -> Batches:
    while True:
        yield from once()


# torchvision


def _transform(job: Job) -> Any:
    from torchvision.transforms import v2

    if job.kind == "pixels":
        return lambda image: torch.from_numpy(np.array(image))
    crop: Any = v2.RandomCrop(job.size, padding=4)
    if job.kind == "photos":
        crop = v2.RandomResizedCrop(job.size)
    # PIL until after the crop: the fastest way in torchvision here (tensors from the start took 1.5 times as long).
    return v2.Compose(
        [
            crop,
            v2.RandomHorizontalFlip(),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def _data_loader(dataset: Any, job: Job, **more: Any) -> Batches:
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        dataset,
        batch_size=job.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=job.threads,
        persistent_workers=True,
        prefetch_factor=4,
        **more,
    )
    return _forever(lambda: loader)


def torchvision_folder(job: Job) -> Batches:
    from torchvision.datasets import ImageFolder

    return _data_loader(ImageFolder(str(job.data / "train"), _transform(job)), job)


class _BatchedAugmentation:
    """Zero-pads, crops, flips and normalises whole batches with torch, for loaders that only decode."""

    def __init__(self, job: Job) -> None:
        self.size = job.size
        self.mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1) * 255
        self.std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1) * 255

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [B, 3, H, W] to float32 [B, 3, size, size]."""
        padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
        corners = torch.randint(0, 9, (len(images), 2)).tolist()
        size = self.size
        crops = torch.stack([padded[i, :, y : y + size, x : x + size] for i, (y, x) in enumerate(corners)])
        flip = torch.rand(len(images)) < 0.5
        crops[flip] = crops[flip].flip(3)
        return crops.float().sub_(self.mean).div_(self.std)


class _BatchedFiles:
    """A map-style dataset that reads whole batches: torchvision.io decodes, then the batch is augmented."""

    def __init__(self, job: Job) -> None:
        from torchvision.datasets import ImageFolder

        self.job, self.samples = job, ImageFolder(str(job.data / "train")).samples
        self.augment = _BatchedAugmentation(job)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitems__(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg, read_file

        labels = torch.tensor([self.samples[i][1] for i in ids])
        images = torch.stack([decode_jpeg(read_file(self.samples[i][0]), mode=ImageReadMode.RGB) for i in ids])
        if self.job.kind == "pixels":
            return images.permute(0, 2, 3, 1).contiguous(), labels
        return self.augment(images), labels


def torchvision_io(job: Job) -> Batches:
    return _data_loader(_BatchedFiles(job), job, collate_fn=lambda batch: batch)


# webdataset


def webdataset(job: Job) -> Batches:
    import webdataset as wds

    shards = sorted(map(str, (job.files / "webdataset").glob("*.tar")))
    data = (
        wds.WebDataset(shards, resampled=True, shardshuffle=True, nodesplitter=wds.split_by_node)
        .shuffle(1000)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(_transform(job), lambda label: label)
        .batched(job.batch_size)
    )
    loader: Any = wds.WebLoader(data, batch_size=None, num_workers=job.threads, persistent_workers=True)
    return _forever(lambda: loader)


# SPDL


def spdl(job: Job) -> Batches:
    import spdl.io
    from spdl.pipeline import PipelineBuilder
    from torchvision.datasets import ImageFolder

    torch.set_num_threads(1)
    samples = ImageFolder(str(job.data / "train")).samples
    augment = _BatchedAugmentation(job)

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


# FFCV


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
        return _forever(lambda: loader)

    return make


# DALI as in its examples


def _dali(**reader: Any) -> Make:
    def make(job: Job) -> Batches:
        from nvidia.dali import fn, math, pipeline_def, types
        from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

        @pipeline_def(batch_size=job.batch_size, num_threads=job.threads, device_id=None)
        def graph() -> Any:
            data, labels = fn.readers.file(
                file_root=str(job.data / "train"), random_shuffle=True, name="reader", **reader
            )
            if job.kind == "photos":
                images = fn.decoders.image_random_crop(data, output_type=types.RGB)
                images = fn.resize(images, size=(job.size, job.size), antialias=False)
            else:
                images = fn.decoders.image(data, output_type=types.RGB)
            if job.kind == "train":
                start = fn.random.uniform(range=[-4, 5], shape=2)
                start = fn.cast(math.floor(start), dtype=types.INT32)
                images = fn.slice(
                    images, start=start, shape=(job.size, job.size), axes=(0, 1), out_of_bounds_policy="pad"
                )
            if job.kind != "pixels":
                images = fn.crop_mirror_normalize(
                    images,
                    mirror=fn.random.coin_flip(),
                    mean=[255 * v for v in IMAGENET_MEAN],
                    std=[255 * v for v in IMAGENET_STD],
                    dtype=types.FLOAT,
                    output_layout="HWC",
                )
            return images, labels

        loader = DALIGenericIterator(
            [graph()],
            ["images", "labels"],
            reader_name="reader",
            last_batch_policy=LastBatchPolicy.DROP,
            auto_reset=True,
        )
        return ((batch[0]["images"], batch[0]["labels"]) for batch in _forever(lambda: loader))

    return make


# ours


def _ours(store: Any, engine: Any) -> Make:
    def make(job: Job) -> Batches:
        from feedline import Dataset, Loader

        plain: dict[str, Any] = {"dtype": torch.uint8, "augment": ("center",)}
        data = Dataset(job.data)
        # The other loaders read the folder train/: all train images of the source.
        split = "official" if "official" in data.splits else "70-30"
        options = plain if job.kind == "pixels" else {"image_size": job.size if job.kind == "photos" else None}
        loader = Loader(
            data, split=split, store=store, engine=engine, batch_size=job.batch_size, threads=job.threads, **options
        )
        return _forever(lambda: loader)

    return make


# Floors: work that no loader can avoid. All data is in memory, and the threads share the batches.


def _floor(prepare: Callable[[Job], Callable[[np.ndarray], None]]) -> Make:
    def make(job: Job) -> Batches:
        from concurrent.futures import Future, ThreadPoolExecutor

        from feedline import Dataset

        torch.set_num_threads(1)
        count, rng = Dataset(job.data).count, np.random.default_rng(0)
        work = prepare(job)
        torch.set_num_threads(1)

        def run_all(batch_ids: np.ndarray) -> None:
            for ids in batch_ids:
                work(ids)

        def batches() -> Batches:
            with ThreadPoolExecutor(job.threads, initializer=lambda: torch.set_num_threads(1)) as pool:
                waiting: deque[Future[None]] = deque()
                while True:
                    order = rng.permutation(count)[: count // job.batch_size * job.batch_size]
                    # Several batches per task, two tasks per thread: little time is lost between threads, and little
                    # is prefetched while others are measured.
                    for batch_ids in np.array_split(
                        order.reshape(-1, job.batch_size), count // job.batch_size // 8 + 1
                    ):
                        waiting.append(pool.submit(run_all, batch_ids))
                        if len(waiting) >= 2 * job.threads:
                            waiting.popleft().result()
                            for _ in batch_ids:
                                yield None, np.empty(job.batch_size)

        return batches()

    return make


def _decode_floor(job: Job) -> Callable[[np.ndarray], None]:
    import simplejpeg

    from feedline import Dataset

    pack = Dataset(job.data).pack("jpeg")

    def work(ids: np.ndarray) -> None:
        out = np.empty((job.size, job.size, 3), dtype=np.uint8)
        for data in pack.encoded(ids):
            simplejpeg.decode_jpeg(data, "RGB", buffer=out)

    return work


def _gather_floor(job: Job) -> Callable[[np.ndarray], None]:
    from feedline import Dataset

    data = Dataset(job.data)
    pack, nbytes = data.pack("raw"), job.size * job.size * 3
    images = np.empty((data.count, nbytes), dtype=np.uint8)
    for first in range(0, data.count, 4096):
        ids = np.arange(first, min(first + 4096, data.count))
        pack.gather(ids, images[first : first + 4096].reshape(-1, job.size, job.size, 3))

    def work(ids: np.ndarray) -> None:
        images.take(ids, axis=0)

    return work


def _copy_floor(job: Job) -> Callable[[np.ndarray], None]:
    source = torch.zeros(job.batch_size, job.size * job.size * 3, dtype=torch.uint8)
    targets = [torch.zeros(source.shape) for _ in range(job.threads + 1)]
    free = list(targets)

    def work(ids: np.ndarray) -> None:
        target = free.pop()
        target.copy_(source)
        free.append(target)

    return work


CONTESTANTS = (
    Contestant("torchvision DataLoader", torchvision_folder, ("train", "pixels", "photos")),
    Contestant("torchvision.io batched", torchvision_io, ("train", "pixels")),
    Contestant("webdataset", webdataset, ("train", "pixels"), "webdataset", BENCH_INSTALL),
    Contestant("SPDL", spdl, ("train", "pixels"), "spdl.io", SPDL_INSTALL),
    Contestant("DALI example", _dali(), ("train", "pixels", "photos"), "nvidia.dali"),
    Contestant("DALI no mmap", _dali(dont_use_mmap=True), ("train", "pixels", "photos"), "nvidia.dali"),
    Contestant("FFCV jpg", _ffcv("jpg"), ("train", "pixels", "photos"), "ffcv", FFCV_INSTALL),
    Contestant("FFCV raw", _ffcv("raw"), ("train", "pixels", "photos"), "ffcv", FFCV_INSTALL),
    *(
        Contestant(
            f"ours {store} {engine}",
            _ours(store, engine),
            ("train", "pixels", "photos"),
            "nvidia.dali" if engine == "dali" else "torch",
            ours=True,
        )
        for store in ("files", "jpeg", "raw")
        for engine in ("torch", "dali")
    ),
    Contestant("floor: decode", _floor(_decode_floor), ("train", "pixels"), floor=True),
    Contestant("floor: gather", _floor(_gather_floor), ("train", "pixels"), floor=True),
    Contestant("floor: read uint8 write float32", _floor(_copy_floor), ("train",), floor=True),
)


def by_name(name: str) -> Contestant:
    return next(c for c in CONTESTANTS if c.name == name)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
