"""Which image files DALI reads to the pixels that Pillow gives, beside JPEGs. Measured with DALI 2.4."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from PIL import Image, ImageFile

from feedline.pipeline.dataset.pillow import ORIENTATION

# TIFF's tags and their values: no compression, LZW, deflate and PackBits; black is zero, and RGB.
_BITS, _COMPRESSION, _MEANING, _CHANNELS, _PLANES, _TILES = 258, 259, 262, 277, 284, 322
_COMPRESSIONS, _MEANINGS = (1, 5, 8, 32946, 32773), (1, 2)


def is_shared(image: Image.Image, data: bytes) -> bool:
    """Whether DALI reads an image file to the same pixels.

    Not with an orientation: DALI knows fewer of its places, and a GPU's decoders are less tried there.

    Args:
        image: the file, open and not loaded yet.
        data: the file.
    """
    rule = _RULES.get(image.format or "")
    try:
        return rule is not None and image.getexif().get(ORIENTATION, 1) == 1 and rule(image, data)
    except Exception:  # Pillow raises whatever a damaged EXIF block leads to
        return False


def _png(image: Image.Image, data: bytes) -> bool:
    return data[24] <= 8  # of 16 bits DALI rounds, Pillow takes the upper 8


def _bmp(image: Image.Image, data: bytes) -> bool:
    """Without run lengths and masks."""
    length, _, _, _, bits, compression = struct.unpack_from("<IiiHHI", data, 14)
    return length >= 40 and bits in (1, 4, 8, 24, 32) and compression == 0


def _webp(image: Image.Image, data: bytes) -> bool:
    """DALI does not read lossless ones with EXIF."""
    return "exif" not in image.info and "xmp" not in image.info


def _ppm(image: Image.Image, data: bytes) -> bool:
    """With bytes as samples; of text or other ranges little is known."""
    return isinstance(image, ImageFile.ImageFile) and image.tile[0][0] == "raw" and image.mode in ("1", "L", "RGB")


def _tiff(image: Image.Image, data: bytes) -> bool:
    """Gray or RGB of 8 bits, in rows."""
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    channels = {"L": 1, "RGB": 3}.get(image.mode)
    return (
        tags.get(_CHANNELS, 1) == channels
        and set(tags.get(_BITS, ())) == {8}
        and tags.get(_COMPRESSION, 1) in _COMPRESSIONS
        and tags.get(_MEANING) in _MEANINGS
        and tags.get(_PLANES, 1) == 1
        and _TILES not in tags
    )


_RULES: dict[str, Callable[[Image.Image, bytes], bool]] = {
    "PNG": _png,
    "BMP": _bmp,
    "WEBP": _webp,
    "PPM": _ppm,
    "TIFF": _tiff,
}
