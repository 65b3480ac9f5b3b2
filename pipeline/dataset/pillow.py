"""Image files of every kind that Pillow reads, as upright RGB of 8 bits."""

import contextlib
import importlib
import io
import logging
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from feedline.pipeline.dataset import libtiff
from feedline.pipeline.dataset.decoded import MAX_PIXELS, Decoded, DecodeError, check_size

# Pillow logs some errors that it raises as well; Python prints them to stderr if no handler takes them.
logging.getLogger("PIL").addHandler(logging.NullHandler())

ORIENTATION = 0x112  # EXIF's tag

# The kinds of files that are tried, those with a clear mark first. Not those that start other programs (EPS), only
# name a file elsewhere, or are no pictures.
FORMATS = [
    *("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "CUR", "DDS", "PCX"),
    *("SGI", "QOI", "PSD", "ICNS", "DIB", "DCX", "SUN", "XBM", "XPM", "MSP", "BLP", "FTEX", "FLI", "TGA"),
]
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
# How files begin that are called images and are none, or none that can be read.
_KINDS = {
    b"%PDF": "a PDF",
    b"PK\3\4": "a zip archive",
    b"%!PS": "PostScript",
    b"<svg": "an SVG, which has no pixels; draw it to a PNG",
    b"<?xml": "XML, perhaps an SVG, which has no pixels; draw it to a PNG",
    b"<!doctype html": "a web page, perhaps of a download that failed",
    b"<html": "a web page, perhaps of a download that failed",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the files with `git lfs pull`",
    b"\xff\x0a": "JPEG XL; convert it to PNG",
    b"\0\0\0\x0cjxl ": "JPEG XL; convert it to PNG",
    b"\x89hdf": "HDF5",
    b"simple  =": "FITS",
    b"\x76\x2f\x31\x01": "OpenEXR, whose values have no range; save it as PNG",
    b"#?radiance": "Radiance HDR, whose values have no range; save it as PNG",
    b"\x1f\x8b": "compressed by gzip",
}
# How files begin that Pillow reads, unless something about them is wrong or unusual.
_READ = {
    b"\x89PNG": "PNG",
    b"\xff\xd8": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"8BPS": "PSD",
    b"\0\0\0\x0cjP": "JPEG 2000",
}
_READ |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")


def decode_with_pillow(data: bytes) -> Decoded:
    """Decodes an image file with Pillow.

    Raises:
        DecodeError: if it does not decode.
    """
    return to_pixels(open_image(data))


def open_image(data: bytes) -> Image.Image:
    """Reads the head of an image file; the pixels are loaded later.

    Raises:
        DecodeError: if it is no image of a known kind, or too large.
    """
    heic = data[4:8] == b"ftyp" and data[8:12] in _HEIC and not _has_avif(data)
    if heic:
        _know_heic()
    try:
        image = Image.open(io.BytesIO(data), formats=["HEIF"] if heic else FORMATS)
    except UnidentifiedImageError as error:
        raise DecodeError(_not_an_image(data)) from error
    except Image.DecompressionBombError as error:
        raise DecodeError(f"more than {MAX_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow raises whatever the bytes lead to
        raise DecodeError(str(error) or type(error).__name__) from error
    check_size(image.height, image.width)
    return image


def to_pixels(image: Image.Image) -> Decoded:
    """Loads an image, and turns it upright.

    Raises:
        DecodeError: if it does not decode, or if its values have a range that is not known.
    """
    try:
        shift = bits(image) - 8
        inverted = _is_white_zero(image)
        _load(image)
        gray = len(image.getbands()) == 1 and image.mode != "P"
        with contextlib.suppress(ValueError, SyntaxError, KeyError, TypeError, struct.error):  # a damaged EXIF block
            image = ImageOps.exif_transpose(image)
        if image.mode in ("RGBa", "La"):  # alpha that is multiplied in
            image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
        if shift > 0:
            values = (np.asarray(image).astype(np.uint32) >> shift).astype(np.uint8)
            image = Image.fromarray(255 - values if inverted else values)
        image.info.pop("transparency", None)  # of a palette: Pillow warns that it gets lost
        return Decoded(np.array(image.convert("RGB")), gray=gray, plain=False)
    except DecodeError:
        raise
    except Exception as error:  # Pillow raises whatever the bytes lead to
        raise DecodeError(str(error) or type(error).__name__) from error


def orientation(data: bytes) -> int:
    """EXIF's orientation, 1 (upright) to 8, as Pillow reads it: XMP may say it too. 1 if that cannot be read."""
    try:
        value = Image.open(io.BytesIO(data), formats=("JPEG",)).getexif().get(ORIENTATION, 1)
        return int(value) if value in range(1, 9) else 1
    except Exception:  # Pillow raises whatever the bytes lead to; what is wrong with them is said when they are decoded
        return 1


def turn(pixels: NDArray[np.uint8], turned: int) -> NDArray[np.uint8]:
    """Pixels, uint8 RGB [height, width, 3], turned upright from EXIF's orientation 2 to 8."""
    return np.array(Image.fromarray(pixels).transpose(_TURNS[turned]))


def gray_or_rgb(pixels: NDArray[np.uint8], *, gray: bool) -> Image.Image:
    """A picture of pixels, uint8 RGB [height, width, 3], with one channel if they are gray."""
    return Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]) if gray else pixels)


def _load(image: Image.Image) -> None:
    """Decodes the pixels. Pillow takes those of a damaged fax for whole; only libtiff knows."""
    if image.format != "TIFF":
        image.load()
        return
    with libtiff.errors() as errors:
        try:
            image.load()
        except Exception as error:  # Pillow raises whatever the bytes lead to; what libtiff says is clearer
            raise DecodeError(f"libtiff: {errors[0]}" if errors else str(error) or type(error).__name__) from error
    if errors:
        raise DecodeError(f"libtiff: {errors[0]}")


def bits(image: Image.Image) -> int:
    """Bits of a sample. Pillow spreads those of PNG, PNM and JPEG 2000 over all 16, but not TIFF's 12.

    Raises:
        DecodeError: if the range of the values is not known.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return 12 if getattr(image, "tag_v2", {}).get(258) == (12,) else 16
    if image.mode in ("I", "F"):
        raise DecodeError(
            f"pixels of 32 bits or signed (mode {image.mode}), whose range is not known; save as 8 or 16 bits"
        )
    return 8


def _is_white_zero(image: Image.Image) -> bool:
    """Whether an image is a TIFF with white as 0, of 16 bits: Pillow inverts those of 1 to 8 bits only."""
    return image.format == "TIFF" and image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(262) == 0


def _has_avif(data: bytes) -> bool:
    """Whether a file whose own kind is a general one (`mif1`) names AVIF as another."""
    return b"avif" in data[16 : min(int.from_bytes(data[:4], "big"), 256)]


def _know_heic() -> None:
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError as error:
        raise DecodeError("HEIC; install pillow-heif, or convert it to JPEG") from error


def _not_an_image(data: bytes) -> str:
    """What is known of bytes that Pillow takes for no image."""
    if not data:
        return "not an image: the file is empty"
    if kind := next((kind for mark, kind in _READ.items() if data.startswith(mark)), _kind_in_container(data)):
        return f"a damaged {kind}, or one of a kind that Pillow does not read; save it as PNG"
    head = data[:64].lstrip(b"\xef\xbb\xbf \r\n").lower()
    other = next((kind for mark, kind in _KINDS.items() if head.startswith(mark.lower())), None)
    other = "a video" if other is None and data[4:8] == b"ftyp" else other
    return "not an image" if other is None else f"not an image: {other}"


def _kind_in_container(data: bytes) -> str:
    """Of what begins as other kinds of files do; empty if it is none that Pillow reads."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return "AVIF" if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis") else ""
