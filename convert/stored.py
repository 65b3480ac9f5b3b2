"""What a dataset folder holds of an image: the file as it came, or one that every engine reads to the same pixels."""

import io
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.convert.layouts.long_names import fit
from feedline.pipeline.dataset.decode import decode
from feedline.pipeline.dataset.inspection import Inspected
from feedline.pipeline.dataset.pillow import gray_or_rgb

# What torchvision's ImageFolder accepts as an image.
FOLDER_SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
# What image files begin with, and the suffix by which an ImageFolder knows them.
_MAGIC = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"BM": ".bmp",
    b"P5": ".pgm",
    b"P6": ".ppm",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
}
# The bytes of an image file, or uint8 pixels [height, width] or [height, width, 3].
Content = bytes | NDArray[np.uint8]
_JPEG, _PNG = (".jpg", ".jpeg"), (".png",)
QUALITY = 90  # of the JPEGs that are smaller copies


class StoredImage(NamedTuple):
    """An image file for a dataset folder.

    Attributes:
        data: the file's bytes.
        suffixes: one of these its name should have; any of an ImageFolder if empty.
        pixels: uint8 RGB [height, width, 3], which both engines read.
        plain: as in `Decoded`.
    """

    data: bytes
    suffixes: tuple[str, ...]
    pixels: NDArray[np.uint8]
    plain: bool


def store(image: Inspected, max_size: int | None) -> StoredImage:
    """The file for an image: its own, a smaller JPEG, or a PNG where not every engine reads the same pixels.

    Args:
        image: the image.
        max_size: limit of the shorter side in pixels; None for no limit.
    """
    height, width = image.pixels.shape[:2]
    if max_size is not None and min(height, width) > max_size:
        return _limited(image, max_size)
    if image.shared:
        return StoredImage(image.data, (), image.pixels, image.plain)
    return StoredImage(png(gray_or_rgb(image.pixels, gray=image.gray)), _PNG, image.pixels, False)


def limited_size(height: int, width: int, max_size: int) -> tuple[int, int]:
    """Height and width in pixels of a larger image whose shorter side is limited."""
    scale = max_size / min(width, height)
    return max(round(height * scale), 1), max(round(width * scale), 1)


def png(image: Image.Image) -> bytes:
    """A PNG. Level 1 takes half the time of the default, for files a few percent larger."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def as_file(content: Content) -> tuple[bytes, str, bool]:
    """The image file for a content.

    Args:
        content: of an item. A file of a kind that an ImageFolder does not take (a GIF, say) is decoded.

    Returns:
        The file's bytes, its suffix, and whether it was made here, from pixels.

    Raises:
        DecodeError: if bytes of an unknown kind do not decode.
    """
    if isinstance(content, bytes):
        if kept := _known_suffix(content):
            return content, kept, False
        content = decode(content).pixels
    return png(Image.fromarray(content)), ".png", True


def _known_suffix(data: bytes) -> str | None:
    """The suffix of a file for an ImageFolder, by its first bytes; None if it is of another kind."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _MAGIC.items() if data.startswith(magic)), None)


def path_of(path: str, image: StoredImage, stem: str | None) -> str:
    """Where the file of an image lies in a dataset folder.

    Args:
        path: of the image, as it is called in the source.
        image: the file.
        stem: the path to which a suffix is added if it has to change (see `spare_stems`).
    """
    before, suffix = _split(path)
    if suffix.lower() in (image.suffixes or FOLDER_SUFFIXES):
        return path
    suffix = image.suffixes[0] if image.suffixes else _known_suffix(image.data) or suffix
    return fit((before if stem is None else stem) + suffix)


def spare_stems(paths: Iterable[str]) -> dict[str, str]:
    """For each path that differs from another one only in its suffix, or in case: a stem that no other file has."""
    paths = list(paths)
    counts = Counter(_key(_split(path)[0]) for path in paths)
    used, stems = set(counts), {}
    for path in sorted(path for path in paths if counts[_key(_split(path)[0])] > 1):
        stem, number = path, 1
        while _key(stem) in used:
            number += 1
            stem = f"{path}-{number}"
        used.add(_key(stem))
        stems[path] = stem
    return stems


def _limited(image: Inspected, max_size: int) -> StoredImage:
    height, width = limited_size(image.pixels.shape[0], image.pixels.shape[1], max_size)
    picture = gray_or_rgb(image.pixels, gray=image.gray)
    file = io.BytesIO()
    smaller = picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    smaller.save(file, "JPEG", quality=QUALITY)
    return StoredImage(file.getvalue(), _JPEG, decode(file.getvalue()).pixels, True)


def _split(path: str) -> tuple[str, str]:
    """A path without its suffix, and the suffix, which may be empty."""
    dot = path.rfind(".")
    return (path[:dot], path[dot:]) if dot > path.rfind("/") + 1 else (path, "")


def _key(path: str) -> str:
    """Equal for names that some file systems take for the same."""
    return path.casefold() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
