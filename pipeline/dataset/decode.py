"""Decodes image files, for the converter and the torch engine."""

import io
import struct
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 89_478_485  # as Pillow: a quarter of a GiB of RGB; what is larger is a mistake or an attack
_HEAD = 4096  # bytes in which a JPEG's EXIF block begins, if it has one


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


def decode(data: "bytes | NDArray[np.uint8]") -> Decoded:
    """Decodes an image file as RGB, upright as its EXIF orientation says.

    JPEG goes through simplejpeg (libjpeg-turbo, 27 us for 64x64), which gives Pillow's pixels (99 us) exactly; what it
    does not cover goes through Pillow. Neither takes a truncated file.

    Args:
        data: the file's bytes, or uint8 [length].

    Raises:
        DecodeError: if it does not decode.
    """
    head = bytes(data[:_HEAD])
    if head[:2] == b"\xff\xd8" and b"Exif\0" not in head:
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if height * width > MAX_PIXELS:
                raise DecodeError(f"{width}x{height} pixels, more than {MAX_PIXELS:,}")
            if colours in ("Gray", "YCbCr", "RGB"):
                return Decoded(simplejpeg.decode_jpeg(data, "RGB"), gray=colours == "Gray", plain=True)
        except DecodeError:
            raise
        except ValueError as error:
            raise DecodeError(str(error)) from error
    return _decode_with_pillow(data)


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


def _decode_with_pillow(data: "bytes | NDArray[np.uint8]") -> Decoded:
    try:
        image = Image.open(io.BytesIO(bytes(data)))
        if image.width * image.height > MAX_PIXELS:
            raise DecodeError(f"{image.width}x{image.height} pixels, more than {MAX_PIXELS:,}")
        image.load()
    except UnidentifiedImageError as error:
        raise DecodeError("not an image") from error
    except DecodeError:
        raise
    except Exception as error:  # Pillow raises whatever the bytes lead to
        raise DecodeError(str(error) or type(error).__name__) from error
    gray = len(image.getbands()) == 1 and image.mode != "P"
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I") and image.format == "PNG":  # 16 bits of gray, which convert() cuts off at 255
            upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
        elif upright.mode in ("I", "F"):
            raise DecodeError(f"pixels of 32 bits (mode {upright.mode}), whose range is not known")
        return Decoded(np.array(upright.convert("RGB")), gray=gray, plain=False)
    except (ValueError, SyntaxError, KeyError, TypeError, struct.error) as error:  # of a damaged EXIF block
        raise DecodeError(str(error) or type(error).__name__) from error
