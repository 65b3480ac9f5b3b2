"""Decodes image files, for the converter and the torch engine: one rule for the pixels of every kind of file."""

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from feedline.pipeline.dataset import png
from feedline.pipeline.dataset.decoded import Decoded, DecodeError, check_size
from feedline.pipeline.dataset.pillow import decode_with_pillow, orientation, turn

__all__ = ["JPEG", "DecodeError", "Decoded", "decode", "decode_plain"]

JPEG = b"\xff\xd8"  # how each of them begins


def decode(data: "bytes | NDArray[np.uint8]") -> Decoded:
    """Decodes an image file as RGB, upright as its EXIF orientation says.

    JPEG goes through simplejpeg (libjpeg-turbo, 27 us for 64x64), which gives Pillow's pixels (99 us) exactly; what it
    does not cover goes through Pillow. Neither takes a truncated file, a JPEG at which libjpeg warns, a TIFF at which
    libtiff does, or a PNG without all of its pixels.

    Alpha is dropped and colour profiles are ignored, as torchvision does. Of an animation the first frame is taken, of
    16 bits of gray the upper 8.

    Args:
        data: the file's bytes, or uint8 [length].

    Raises:
        DecodeError: if it does not decode.
    """
    whole = data if isinstance(data, bytes) else data.tobytes()
    if whole[:2] == JPEG:
        return decode_jpeg(whole)[0]
    return png.decode_png(whole).decoded if whole.startswith(png.PNG) else decode_with_pillow(whole)


def decode_plain(data: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Decodes a JPEG that is known to be plain into `out`, uint8 [height, width, 3]: `decode` without its inspection.

    Raises:
        DecodeError: if it does not decode, or to another size.
    """
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGB", buffer=out)
    except ValueError as error:
        raise DecodeError(str(error)) from error
    if pixels.shape != out.shape:
        raise DecodeError(f"{pixels.shape[1]}x{pixels.shape[0]} pixels, not {out.shape[1]}x{out.shape[0]}")


def may_be_turned(data: bytes) -> bool:
    """Whether a JPEG may say its orientation."""
    # The block may stand behind any number of others: searching 200 KB takes 10 us, of the 2 ms of decoding them.
    return b"Exif\0\0" in data or b"tiff:Orientation" in data


def decode_jpeg(data: bytes) -> tuple[Decoded, str]:
    """As `decode`, with the colours that libjpeg finds: `YCbCr`, `Gray`, ...; empty if Pillow alone reads it.

    Raises:
        DecodeError: if it does not decode.
    """
    turned = orientation(data) if may_be_turned(data) else 1
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        check_size(height, width)
        if colours in ("Gray", "YCbCr", "RGB"):
            pixels = simplejpeg.decode_jpeg(data, "RGB")
            upright = pixels if turned == 1 else turn(pixels, turned)
            return Decoded(upright, colours == "Gray", turned == 1), colours
        simplejpeg.decode_jpeg(data, "CMYK")  # for its errors: Pillow takes damaged files
    except DecodeError:
        raise
    except KeyError:  # a kind of subsampling that turbojpeg has a number for, and simplejpeg no name
        pass
    except ValueError as error:
        if "determine subsampling" not in str(error):  # nor has turbojpeg
            raise DecodeError(str(error)) from error
    return decode_with_pillow(data), ""
