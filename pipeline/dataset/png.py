"""PNGs: whether they are whole, and of the plain kind that every engine reads to the same pixels."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from PIL import Image

from feedline.pipeline.dataset.decoded import Decoded, DecodeError
from feedline.pipeline.dataset.pillow import ORIENTATION, open_image, to_pixels

PNG = b"\x89PNG\r\n\x1a\n"  # how each of them begins
_PALETTE = 3
_CHANNELS = {0: 1, 2: 3, _PALETTE: 1, 4: 2, 6: 4}  # by colour type: gray, RGB, palette; the last two have alpha
_DEPTH = 8  # bits of a sample. Of 16, DALI rounds; of 2 and 4, DALI 2.4 on a GPU (`mixed`) makes other pixels
_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
# Chunks beside them that change no pixel, in either engine. Not EXIF, and not those of animations.
_HARMLESS = {*(b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"tIME"), *(b"tEXt", b"zTXt", b"iTXt")}
_HARMLESS.add(b"tRNS")
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


class DecodedPng(NamedTuple):
    """A PNG, decoded.

    Attributes:
        decoded: its pixels.
        warning: what is wrong with the file though the pixels are whole; empty if nothing.
        plain: DALI reads it to the same pixels.
    """

    decoded: Decoded
    warning: str
    plain: bool


def decode_png(data: bytes) -> DecodedPng:
    """Decodes a PNG, and checks what Pillow does not.

    Raises:
        DecodeError: if it does not decode, or is damaged.
    """
    image = open_image(data)
    decoded = to_pixels(image)  # first: Pillow's `getexif` loads as well, and hides what is wrong
    turned = _turned(image)
    found = list(chunks(data))
    # A row that is missing is of one colour; to inflate the others once more takes half the time of decoding.
    warning = check(found, all_data=turned != 1 or bool((decoded.pixels[-1] == decoded.pixels[-1, 0]).all()))
    colours = int(np.asarray(image).max()) + 1 if image.mode == "P" else 0
    return DecodedPng(decoded, warning, not warning and turned == 1 and is_plain(data, found, colours))


def _turned(image: Image.Image) -> int:
    """EXIF's orientation of an image that is loaded, 0 if its block is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises whatever the bytes lead to
        return 0


class Chunk(NamedTuple):
    """A chunk: its name, its content, and whether its checksum is right."""

    name: bytes
    content: bytes
    right: bool


def chunks(data: bytes) -> Iterator[Chunk]:
    """The chunks of a PNG, up to its end or to one that is cut off; of pixels, what there is of that one too."""
    at = len(PNG)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        stop = at + 8 + length
        if stop + 4 > len(data):
            if data[at + 4 : at + 8] == b"IDAT":
                yield Chunk(b"IDAT", data[at + 8 : stop], right=False)
            return
        right = zlib.crc32(data[at + 4 : stop]).to_bytes(4, "big") == data[stop : stop + 4]
        yield Chunk(data[at + 4 : at + 8], data[at + 8 : stop], right)
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = stop + 4


def check(found: list[Chunk], *, all_data: bool) -> str:
    """Checks what Pillow does not: that nothing of the image is missing or has to be guessed.

    Args:
        found: the chunks of a PNG that Pillow reads.
        all_data: that there are bytes for all of its pixels; Pillow takes zeros for those that are missing.

    Returns:
        What is wrong though the pixels are whole; empty if nothing.

    Raises:
        DecodeError: if the image is damaged.
    """
    names = [chunk.name for chunk in found]
    if unknown := [name for name in names if not name[0] & 0x20 and name not in _CRITICAL]:
        raise DecodeError(f"a PNG with a chunk {unknown[0].decode('latin-1')!a}, without which it cannot be read")
    header = found[0].content if found else b""
    if names[:1] != [b"IHDR"] or len(header) != 13 or header[9] not in _CHANNELS:
        raise DecodeError("a PNG with a damaged header")
    if wrong := next((chunk.name for chunk in found if not chunk.right and chunk.name in (b"IHDR", b"PLTE")), None):
        raise DecodeError(f"a PNG with a damaged chunk {wrong.decode()}: its checksum is wrong")
    if header[9] == _PALETTE and b"PLTE" not in names[: names.index(b"IDAT") if b"IDAT" in names else None]:
        raise DecodeError("a PNG of palette colours without its palette")
    damaged = any(chunk.name == b"IDAT" and not chunk.right for chunk in found)
    if all_data or header[12] or damaged or names[-1] != b"IEND":
        _check_data(found, header)
    if names[-1] != b"IEND":
        return "a PNG without its end"
    wrong = next((chunk.name for chunk in found if not chunk.right), None)
    return "" if wrong is None else f"a PNG with a chunk {wrong.decode('latin-1')!a} whose checksum is wrong"


def is_plain(data: bytes, found: list[Chunk], colours: int) -> bool:
    """Whether a PNG that passed `check` without a word is one that DALI reads to the same pixels.

    Args:
        data: the file.
        found: its chunks.
        colours: of its palette that are used, if it has one: the highest number plus one.
    """
    names = [chunk.name for chunk in found]
    depth, kind, compression, filtering, interlaced = found[0].content[8:13]
    first, count = names.index(b"IDAT"), names.count(b"IDAT")
    palettes = [chunk.content for chunk in found[:first] if chunk.name == b"PLTE"]
    return (
        (depth, compression, filtering, interlaced) == (_DEPTH, 0, 0, 0)
        and names[first : first + count] == [b"IDAT"] * count
        and all(name in _CRITICAL or name in _HARMLESS for name in names)
        and all(names.count(name) == 1 for name in names if name in (b"IHDR", b"IEND", b"tRNS"))
        and names.count(b"PLTE") == len(palettes) == (kind == _PALETTE)
        and all(3 * colours <= len(p) <= 3 << _DEPTH and len(p) % 3 == 0 for p in palettes)
        and sum(len(chunk.content) + 12 for chunk in found) + len(PNG) == len(data)
    )


def _check_data(found: list[Chunk], header: bytes) -> None:
    """Checks that there is a byte of data for each sample and a filter for each row, and the checksum behind them."""
    width, height = struct.unpack(">II", header[:8])
    bits = header[8] * _CHANNELS[header[9]]
    wanted = 0
    for top, left, down, right in _ADAM7 if header[12] else ((0, 0, 1, 1),):
        columns = -(-(width - left) // right)
        wanted += -(-(height - top) // down) * (-(-columns * bits // 8) + 1) if columns > 0 else 0
    data = b"".join(chunk.content for chunk in found if chunk.name == b"IDAT")
    inflate = zlib.decompressobj()
    try:
        length = len(inflate.decompress(data, wanted))
        inflate.decompress(inflate.unconsumed_tail, 1 << 16)
    except zlib.error as error:
        raise DecodeError(f"a PNG with damaged data ({error})") from error
    if length < wanted:
        raise DecodeError(f"a PNG with {length:,} bytes of pixels of {wanted:,}")
