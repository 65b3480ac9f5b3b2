"""libturbojpeg of the system, where there is one: a block of JPEGs is decoded in one call without the GIL.

simplejpeg, which holds the same library, takes a decoder, a header and the GIL for each image: 3 of 29 us for 64x64.
"""

import contextlib
import ctypes
import functools
import logging
import sys
from pathlib import Path
from typing import TypeAlias

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from feedline.pipeline import compiled

logger = logging.getLogger(__name__)
Functions: TypeAlias = tuple[int, int, int, int]

ADVICE = (
    "JPEGs are decoded one by one here, for which threads queue on a machine of many cores: install libturbojpeg (apt "
    "install libturbojpeg0; conda install libjpeg-turbo), whose blocks of images are decoded in one call."
)
_NAMES = ("tjInitDecompress", "tjDecompressHeader3", "tjDecompress2", "tjDestroy")


def functions() -> Functions | None:
    """The addresses of the functions that the kernel calls.

    None without the kernel or the library, or if it does not decode to the pixels that simplejpeg gives; those count.
    """
    return None if compiled.kernels is None else _find()


@functools.cache
def _find() -> Functions | None:
    for name in (str(Path(sys.prefix, "lib/libturbojpeg.so")), "libturbojpeg.so.0", "libturbojpeg.so"):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL(name)
            found = [ctypes.cast(getattr(library, function), ctypes.c_void_p).value or 0 for function in _NAMES]
            addresses = found[0], found[1], found[2], found[3]
            if _agrees(addresses):
                return addresses
            logger.warning("%s decodes to other pixels than simplejpeg; it is not used", name)
    return None


def _agrees(addresses: Functions) -> bool:
    """Whether the library gives simplejpeg's pixels for a colourful image in each kind of subsampling."""
    noise = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((61, 47)))
    for subsampling in ("444", "422", "420", "440", "411", "Gray"):
        file = simplejpeg.encode_jpeg(image, quality=80, colorsubsampling=subsampling)
        data = np.frombuffer(file, dtype=np.uint8)
        out = np.zeros((1, 47, 61, 3), dtype=np.uint8)
        place, length = np.array([data.ctypes.data], dtype=np.uint64), np.array([len(data)], dtype=np.uint32)
        if decode_at(addresses, place, length, out) != 1 or (out[0] != simplejpeg.decode_jpeg(data, "RGB")).any():
            return False
    return True


def decode_at(
    functions: Functions, addresses: NDArray[np.uint64], lengths: NDArray[np.uint32], out: NDArray[np.uint8]
) -> int:
    """Decodes JPEGs that lie in memory, of one size, until one fails.

    Args:
        functions: the library's.
        addresses: uint64 [B], of images that stay there during the call.
        lengths: uint32 [B], in bytes.
        out: uint8 [B, height, width, 3], contiguous.

    Returns:
        How many were decoded; the next one does not decode, or to another size.
    """
    assert compiled.kernels is not None
    return int(compiled.kernels.decode(functions, addresses, lengths, out, out.shape[1:3]))
