"""Looks at every image once: reads, decodes, counts; what worker processes run."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.convert.sources import Damaged, Item, Tree
from feedline.pipeline.decode import DecodeError, decode
from feedline.pipeline.errors import InputError

MAX_FILE_BYTES = 256 << 20


@dataclass(frozen=True)
class Seen:
    """What one image turned out to be.

    Attributes:
        height, width: pixels, after the EXIF orientation is applied.
        gray, plain: as `decode` found it.
        digest: of the file's bytes.
        pack_size: height and width of what follows, which `max_size` may have made smaller.
        encoded: the file's bytes, if they are wanted.
        pixels: uint8 RGB rows, if they are wanted.
        error: why it does not decode; then nothing else is set.
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
class Job:
    """Some images for a worker.

    Attributes:
        tree: gives the bytes.
        items: the images.
        target: folder to write the image files into.
        packs: the packs to prepare.
        max_size: limit of the shorter side in packs, in pixels.
    """

    tree: Tree
    items: Sequence[Item]
    target: Path
    packs: tuple[str, ...]
    max_size: int | None


def run(job: Job) -> tuple[list[Seen], NDArray[np.int64]]:
    """Reads, decodes and writes a job's images.

    Returns:
        What each image is, and int64 [768] the histogram of the train images' R, G and B values.
    """
    histogram = np.zeros(768, dtype=np.int64)
    seen = []
    for item in job.items:
        result, counts = _look(job, item)
        seen.append(result)
        if counts is not None and item.part == "train":
            histogram += counts
    return seen, histogram


def _look(job: Job, item: Item) -> tuple[Seen, NDArray[np.int64] | None]:
    try:
        if item.size > MAX_FILE_BYTES:
            raise DecodeError(f"{item.size / 2**20:,.0f} MiB, more than an image file has")
        data = job.tree.read(item.name)
        if len(data) != item.size:
            raise InputError(f"{item.name}: was changed while it was read; convert the source when it is complete")
        pixels, gray, plain = decode(data)
    except (Damaged, DecodeError) as error:
        return Seen(error=str(error) or type(error).__name__), None
    except OSError as error:
        raise InputError(f"{item.name}: cannot be read ({error.strerror}); mend or remove it in the source") from error
    (job.target / item.path).write_bytes(data)
    packed, small = _limit(data, pixels, job.max_size)
    seen = Seen(
        height=pixels.shape[0],
        width=pixels.shape[1],
        gray=gray,
        plain=plain,
        digest=hashlib.blake2b(data, digest_size=16).digest(),
        pack_size=(small.shape[0], small.shape[1]),
        encoded=packed if "jpeg" in job.packs else b"",
        pixels=small.tobytes() if "raw" in job.packs else b"",
    )
    return seen, np.array(Image.fromarray(pixels).histogram(), dtype=np.int64)


def _limit(data: bytes, pixels: NDArray[np.uint8], max_size: int | None) -> tuple[bytes, NDArray[np.uint8]]:
    """An image file and its pixels with a shorter side of at most `max_size`; made smaller, it is a new JPEG."""
    height, width = pixels.shape[:2]
    if max_size is None or min(height, width) <= max_size:
        return data, pixels
    scale = max_size / min(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    image = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue(), np.array(image)
