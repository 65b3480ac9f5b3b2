"""What a worker does with images: read, decode, measure, copy."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.convert.layouts import Item
from feedline.convert.mean_std import VALUES, histogram
from feedline.convert.trees import Damaged, Tree
from feedline.pipeline.dataset.decode import DecodeError, decode
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
        max_size: limit of the shorter side in packs, in pixels.
    """

    tree: Tree
    items: Sequence[Item]
    target: Path
    packs: tuple[str, ...]
    max_size: int | None


@dataclass(frozen=True)
class ImageResult:
    """What is known of one image after reading it.

    Attributes:
        height, width: pixels, after the EXIF orientation is applied.
        gray, plain: as in `Decoded`.
        digest: of the file's bytes; of the pixels if the file was made from them.
        pack_size: height and width in packs, in pixels; `max_size` limits them.
        encoded: the file for the jpeg pack; empty if there is none.
        pixels: uint8 RGB rows for the raw pack; empty if there is none.
        error: why the image does not decode; then nothing else is set.
    """

    height: int = 0
    width: int = 0
    gray: bool = False
    plain: bool = False
    digest: bytes = b""
    pack_size: tuple[int, int] = (0, 0)
    encoded: bytes = b""
    pixels: bytes = b""
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
    total = np.zeros(VALUES, dtype=np.int64)
    results = []
    for item in job.items:
        try:
            data = _read(job.tree, item)
            pixels, gray, plain = decode(data)
        except (Damaged, DecodeError) as error:
            results.append(ImageResult(error=first_line(error, MAX_REASON)))
            continue
        except OSError as error:
            message = f"{item.name}: cannot be read ({error.strerror}); repair or remove it in the source"
            raise InputError(message) from error
        (job.target / item.path).write_bytes(data)
        if item.part == "train":
            total += histogram(pixels)
        encoded, packed = _limit(data, pixels, job.max_size)
        results.append(
            ImageResult(
                height=pixels.shape[0],
                width=pixels.shape[1],
                gray=gray,
                plain=plain,
                digest=_digest(data, pixels, item),
                pack_size=(packed.shape[0], packed.shape[1]),
                encoded=encoded if "jpeg" in job.packs else b"",
                pixels=packed.tobytes() if "raw" in job.packs else b"",
            )
        )
    return JobResult(results, total)


def _read(tree: Tree, item: Item) -> bytes:
    """The bytes of an image file, as long as it was when listed."""
    if item.size > MAX_FILE_BYTES:
        raise DecodeError(f"{item.size / 2**20:,.0f} MiB, more than an image file has")
    data = tree.read(item.name)
    if len(data) != item.size:
        raise InputError(f"{item.name}: was changed while it was read; convert the source when it is complete")
    return data


def _digest(data: bytes, pixels: NDArray[np.uint8], item: Item) -> bytes:
    total = hashlib.blake2b(digest_size=16)
    if item.made:
        total.update(b"pixels %d %d " % pixels.shape[:2])
    total.update(pixels.tobytes() if item.made else data)
    return total.digest()


def _limit(data: bytes, pixels: NDArray[np.uint8], max_size: int | None) -> tuple[bytes, NDArray[np.uint8]]:
    """An image file and its pixels with a shorter side of at most `max_size`. A resized image is a new JPEG."""
    height, width = pixels.shape[:2]
    if max_size is None or min(height, width) <= max_size:
        return data, pixels
    scale = max_size / min(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue(), np.array(image)
