"""What decoding gives, and the limits of what is decoded."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.dataset.description import MAX_SIDE

MAX_PIXELS = 89_478_485  # as Pillow: a quarter of a GiB of RGB; what is larger is a mistake or an attack


class DecodeError(ValueError):
    """These bytes are not a whole image."""


class Decoded(NamedTuple):
    """An image file, decoded.

    Attributes:
        pixels: uint8 RGB [height, width, 3].
        gray: the file has one channel.
        plain: `decode_plain` gives the same pixels.
    """

    pixels: NDArray[np.uint8]
    gray: bool
    plain: bool


def check_size(height: int, width: int) -> None:
    """Checks the size of an image, in pixels, before it is decoded.

    Raises:
        DecodeError: if it is larger than a dataset holds.
    """
    if height * width > MAX_PIXELS:
        raise DecodeError(f"{width}x{height} pixels, more than {MAX_PIXELS:,}")
    if max(height, width) > MAX_SIDE:
        raise DecodeError(f"{width}x{height} pixels, more than {MAX_SIDE:,} on a side")
