"""A perceptual hash of an image: images that look alike have nearly the same one."""

import importlib.util

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.pipeline.errors import InputError

HASH_BYTES = 32  # the first 8 hold the lowest frequencies
AUTO_PIXELS = 1 << 16  # of so many, the hash costs less than the decoding of a JPEG
_SIDE = 16  # frequencies of each direction in the hash
_THUMBNAIL = 4 * _SIDE  # pixels
_MIN_CONTRAST, _MIN_DETAIL = 4.0, 1.0  # of 255 levels; a flatter image's hash is rounding noise

NEAR = ("auto", "on", "off")


def available() -> bool:
    """Whether the library is installed."""
    return importlib.util.find_spec("imagehash") is not None


def min_pixels(near_duplicates: str) -> int | None:
    """Pixels from which on images are hashed; None for no hashes.

    Args:
        near_duplicates: one of NEAR; `auto` hashes images whose hash costs less than their decoding, if it can.

    Raises:
        InputError: if hashes are asked for and the library is missing.
    """
    if near_duplicates == "on" and not available():
        raise InputError("`near_duplicates=on`: needs the package ImageHash: pip install 'feedline[near]'")
    if near_duplicates == "off" or not available():
        return None
    return 0 if near_duplicates == "on" else AUTO_PIXELS


def perceptual_hash(pixels: NDArray[np.uint8], min_pixels: int | None = 0) -> bytes | None:
    """The signs of the 256 lowest frequencies of the gray image (ImageHash's phash), 64 lowest first.

    Args:
        pixels: uint8 RGB [height, width, 3].
        min_pixels: smaller images get no hash; None for none at all.

    Returns:
        HASH_BYTES; empty if the image is so flat that its hash says nothing; None if it gets no hash.
    """
    if min_pixels is None or pixels.shape[0] * pixels.shape[1] < min_pixels:
        return None
    import imagehash  # an extra, and slow to import

    thumbnail = _thumbnail(pixels)
    levels = np.asarray(thumbnail, dtype=np.float32)
    detail = sum(np.abs(np.diff(levels, n=2, axis=axis)).mean() for axis in (0, 1))  # a slope has none
    if levels.std() < _MIN_CONTRAST or detail < _MIN_DETAIL:
        return b""
    bits = imagehash.phash(thumbnail, hash_size=_SIDE).hash
    half = _SIDE // 2
    return np.packbits(
        np.concatenate([bits[:half, :half].ravel(), bits[:half, half:].ravel(), bits[half:].ravel()])
    ).tobytes()


def _thumbnail(pixels: NDArray[np.uint8]) -> Image.Image:
    """The gray image in 64x64 pixels. Of large images every n-th pixel is enough: averages of 16 remain."""
    height, width = pixels.shape[:2]
    step = max(min(height, width) // (4 * _THUMBNAIL), 1)
    image = Image.fromarray(np.ascontiguousarray(pixels[::step, ::step])).convert("L")
    factor = min(image.size) // _THUMBNAIL
    if factor > 1:
        image = image.reduce(factor)
    return image.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BILINEAR)
