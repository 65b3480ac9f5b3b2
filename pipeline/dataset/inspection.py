"""Looks closely at an image file before it becomes part of a dataset: will every engine read the same pixels?"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.dataset import jpeg, png
from feedline.pipeline.dataset.decode import JPEG, decode_jpeg, may_be_turned
from feedline.pipeline.dataset.decoded import Decoded, DecodeError
from feedline.pipeline.dataset.pillow import decode_with_pillow, orientation

REPAIRS = 5  # bytes behind the last scan are found in a few steps: libjpeg counts without those that it has read ahead


class Inspected(NamedTuple):
    """An image file, decoded for a dataset.

    Attributes:
        data: the file's bytes, without what libjpeg warned of.
        pixels, gray, plain: as in `Decoded`.
        shared: DALI reads the same pixels, on a CPU and by what its GPU decoders promise. Measured with DALI 2.4. Only
            JPEGs and PNGs are: DALI does not read some files of other kinds, and does not survive others.
        warning: what is wrong with the file, if its pixels are clean all the same.
    """

    data: bytes
    pixels: NDArray[np.uint8]
    gray: bool
    plain: bool
    shared: bool
    warning: str


def inspect(data: bytes) -> Inspected:
    """Decodes an image file. What Pillow warns of becomes the image's warning.

    Not for threads: Python's warnings are the process's.

    Raises:
        DecodeError: if it does not decode, or is damaged.
    """
    if data[:2] == JPEG and not may_be_turned(data) and b"MPF\0" not in data:  # saves 7 us: Pillow will be silent
        return _inspect(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        inspected = _inspect(data)
    said = [str(about.message) for about in caught if issubclass(about.category, (UserWarning, RuntimeWarning))]
    return inspected if inspected.warning or not said else inspected._replace(warning=said[0].strip())


def _inspect(data: bytes) -> Inspected:
    if data.startswith(png.PNG):
        decoded, warning, plain = png.decode_png(data)
        return Inspected(data, *decoded, plain, warning)
    if data[:2] != JPEG:
        return Inspected(data, *decode_with_pillow(data), False, "")
    warning = ""
    try:
        decoded, colours = decode_jpeg(data)
    except DecodeError as error:
        warning = str(error)
        data, decoded, colours = _mend(data, error)
    turned = 1 if decoded.plain else orientation(data)
    shared = colours in ("YCbCr", "Gray") and jpeg.is_usual(data, turned)
    return Inspected(data, *decoded, shared, warning)


def _mend(data: bytes, error: DecodeError) -> tuple[bytes, Decoded, str]:
    """A JPEG without what libjpeg warned of, decoded to the pixels that Pillow gives of the original.

    Raises:
        DecodeError: if the warning is of damage to the image.
    """
    try:
        wanted = decode_with_pillow(data)
    except DecodeError:
        raise error from None
    mended = jpeg.with_end(jpeg.tidy(data))
    for _ in range(REPAIRS):
        try:
            decoded, colours = decode_jpeg(mended)
        except DecodeError as other:
            shorter = jpeg.without_padding(mended, str(other))
            if shorter is None:
                raise
            mended = shorter
        else:
            if np.array_equal(decoded.pixels, wanted.pixels):
                return mended, decoded, colours
            break
    raise error
