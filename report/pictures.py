"""Small pictures of a dataset's images."""

import io
from collections.abc import Callable

from PIL import Image

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.report.page import Picture

SIDE = 128  # pixels: the longer side of a picture at most


def pictures_of(dataset: Dataset) -> Callable[[int, str, str], Picture]:
    """A function that makes a picture of an image id, a caption and a note."""

    def picture(image: int, caption: str, note: str) -> Picture:
        try:
            pixels = decode((dataset.root / dataset.path(image)).read_bytes()).pixels
        except (OSError, DecodeError):
            return Picture(b"", caption, "the image can no longer be read")
        return Picture(small_jpeg(Image.fromarray(pixels)), caption, note)

    return picture


def small_jpeg(image: Image.Image) -> bytes:
    """A JPEG of an image whose longer side is at most `SIDE` pixels."""
    image.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
