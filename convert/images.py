"""What a worker does with images: read, decode, measure, copy."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feedline.convert.layouts import Item
from feedline.convert.mean_std import Histogram
from feedline.convert.perceptual import perceptual_hash
from feedline.convert.stored import path_of, store
from feedline.convert.trees import Damaged, Readable
from feedline.pipeline.dataset.checksums import checksum
from feedline.pipeline.dataset.decode import DecodeError
from feedline.pipeline.dataset.inspection import inspect
from feedline.pipeline.errors import InputError, first_line

MAX_FILE_BYTES = 256 << 20
MAX_REASON = 1000  # characters


@dataclass(frozen=True)
class Job:
    """Images for a worker.

    Attributes:
        tree: gives the bytes.
        items: the images.
        target: the dataset folder, with the folders of these images in it.
        packs: kinds of packs to prepare.
        max_size: limit of the shorter side, in pixels.
        stems: {path: stem} of images that share a name but for the suffix (see `spare_stems`).
        near_pixels: images of so many pixels get a perceptual hash (0: all); None for none.
    """

    tree: Readable
    items: Sequence[Item]
    target: Path
    packs: tuple[str, ...]
    max_size: int | None
    stems: Mapping[str, str] = field(default_factory=dict)
    near_pixels: int | None = None


@dataclass(frozen=True)
class ImageResult:
    """What is known of one image after reading it.

    Attributes:
        height, width: pixels of the file in the dataset folder, upright.
        gray, plain: as in `Decoded`.
        digest: of the file's bytes; of the pixels if the file was made from them.
        checksum: of the file as it lies in the dataset folder.
        encoded: the file for the jpeg pack; empty if there is none.
        pixels: uint8 RGB rows for the raw pack; empty if there is none.
        warning: what is wrong with the source's file, though the image is whole; empty if nothing.
        stored: the path of the file in the dataset folder, if it is not the item's.
        perceptual: the perceptual hash, empty if the image is too flat for one; None if it was not asked for.
        error: why the image does not decode; then nothing else is set.
    """

    height: int = 0
    width: int = 0
    gray: bool = False
    plain: bool = False
    digest: bytes = b""
    checksum: int = 0
    encoded: bytes = b""
    pixels: bytes = b""
    warning: str = ""
    stored: str = ""
    perceptual: bytes | None = None
    error: str = ""


@dataclass(frozen=True)
class JobResult:
    """The result of a job.

    Attributes:
        images: one result per item.
        histogram: int64 [VALUES], of the train images (see `mean_std`).
    """

    images: list[ImageResult]
    histogram: NDArray[np.int64]


def convert_images(job: Job) -> JobResult:
    """Reads and decodes the images of a job and copies their files.

    Raises:
        InputError: if a file cannot be read or has changed.
        OSError: if a file cannot be written.
    """
    histogram = Histogram()
    return JobResult([_convert(job, item, histogram) for item in job.items], histogram.total())


def _convert(job: Job, item: Item, histogram: Histogram) -> ImageResult:
    """Converts an image, and adds a train image to the histogram."""
    try:
        data = _read(job.tree, item)
        image = inspect(data)
    except (Damaged, DecodeError) as error:
        return ImageResult(error=first_line(error, MAX_REASON))
    except OSError as error:
        message = f"{item.name}: cannot be read ({error.strerror}); repair or remove it in the source"
        raise InputError(message) from error
    file = store(image, job.max_size)
    path = path_of(item.path, file, job.stems.get(item.path))
    _write_new(f"{job.target}/{path}", file.data, item)
    if item.part == "train":
        histogram.add(file.pixels)
    return ImageResult(
        height=file.pixels.shape[0],
        width=file.pixels.shape[1],
        gray=image.gray,
        plain=file.plain,
        digest=_digest(data, image.pixels, item),
        checksum=checksum(file.data),
        encoded=file.data if "jpeg" in job.packs else b"",
        pixels=file.pixels.tobytes() if "raw" in job.packs else b"",
        warning=image.warning[:MAX_REASON],
        stored=path if path != item.path else "",
        perceptual=perceptual_hash(image.pixels, job.near_pixels),
    )


def _write_new(path: str, data: bytes, item: Item) -> None:
    """Writes a file that is not there yet: on some file systems `A.jpg` and `a.jpg` are one."""
    try:
        with open(path, "xb") as file:  # noqa: PTH123 - a Path takes 8 us more for each file
            file.write(data)
    except FileExistsError as error:
        raise InputError(
            f"{item.name}: another image of the source has this name on the file system of the dataset (upper and "
            "lower case, or accents spelled in two ways); rename one of them"
        ) from error


def _read(tree: Readable, item: Item) -> bytes:
    """The bytes of an image file, as long as it was when listed."""
    if item.size > MAX_FILE_BYTES:
        raise DecodeError(f"{item.size / 2**20:,.0f} MiB, more than an image file has")
    data = tree.read(item.name)
    if len(data) != item.size and not item.estimated:
        raise InputError(f"{item.name}: was changed while it was read; convert the source when it is complete")
    return data


def _digest(data: bytes, pixels: NDArray[np.uint8], item: Item) -> bytes:
    total = hashlib.blake2b(digest_size=16)
    if item.made:
        total.update(b"pixels %d %d " % pixels.shape[:2])
    total.update(pixels.tobytes() if item.made else data)
    return total.digest()
