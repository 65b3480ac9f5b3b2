"""The segments of a JPEG: whether it is of the usual kind, and its repair around its pixels."""

import re
import struct
from collections.abc import Iterator
from itertools import takewhile
from typing import NamedTuple

EOI, SOS, APP0, APP1, APP14 = 0xD9, 0xDA, 0xE0, 0xE1, 0xEE
FRAMES = {0xC0, 0xC1, 0xC2}  # baseline, extended and progressive, all with Huffman codes
_ALL_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # also lossless, hierarchical, with arithmetic codes
_BARE = {0x00, 0x01, 0xFF, *range(0xD0, 0xD9)}  # no marker, or one without content
_AFTER_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # in the data of a scan, 0xff is followed by 0
_EXIF = b"Exif\0\0"
_ORIENTATION, _SHORT = 0x112, 3
_PADDING = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_START, _END = b"\xff\xd8", bytes([0xFF, EOI])
_USUAL_FRAME = b"\xff\xc0\0\x11\x08"  # baseline, of three colours, 8 bits each
_READ_AHEAD = 8  # bytes behind the last code that libjpeg may have taken and does not count


class Segment(NamedTuple):
    """A segment: its marker, and where its content begins and ends."""

    marker: int
    start: int
    stop: int


def segments(data: bytes) -> Iterator[Segment]:
    """The segments of a JPEG, each where it should be or behind bytes that belong nowhere, up to the end's marker."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        if marker == EOI:
            yield Segment(marker, at + 2, at + 2)
            return
        if marker in _BARE:
            at += 1 if marker == 0xFF else 2
            continue
        stop = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if stop < at + 4 or stop > len(data):
            return
        yield Segment(marker, at + 4, stop)
        at = _end_of_scan(data, stop) if marker == SOS else stop


def _end_of_scan(data: bytes, start: int) -> int:
    following = _AFTER_SCAN.search(data, start)
    return len(data) if following is None else following.start()


def is_usual(data: bytes, turned: int) -> bool:
    """Whether a JPEG of gray or YCbCr is one that every decoder reads to the same pixels.

    Not so with arithmetic coding, without loss, or of other than 8 bits, and if its orientation stands in several EXIF
    blocks, in one that is damaged (DALI 2.4 may crash), or in XMP, which DALI does not read.

    Args:
        data: of a JPEG that decodes without a warning.
        turned: its orientation.
    """
    at = data.find(_USUAL_FRAME, 0, 4096)
    if at < 0 or _START in data[2:at]:  # that of a thumbnail, perhaps; looked for first, because the walk takes 2 us
        frame = next((segment for segment in segments(data) if segment.marker in _ALL_FRAMES), None)
        if frame is None or frame.marker not in FRAMES or data[frame.start] != 8:
            return False
    blocks = _exif_blocks(data) if _EXIF in data else []
    return len(blocks) < 2 and turned == (_orientation(blocks[0]) if blocks else 1)


def _exif_blocks(data: bytes) -> list[bytes]:
    head = takewhile(lambda segment: segment.marker != SOS, segments(data))
    return [data[s.start + len(_EXIF) : s.stop] for s in head if s.marker == APP1 and data.startswith(_EXIF, s.start)]


def _orientation(block: bytes) -> int | None:
    """The orientation in an EXIF block, 1 if it has none; None if anything about it is not as it should be."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None or len(block) < 8:
        return None
    (at,) = struct.unpack_from(order + "I", block, 4)
    if at + 2 > len(block):
        return None
    (count,) = struct.unpack_from(order + "H", block, at)
    if at + 2 + 12 * count > len(block):
        return None
    entries = (struct.unpack_from(order + "HHIH", block, at + 2 + 12 * number) for number in range(count))
    found = [entry[1:] for entry in entries if entry[0] == _ORIENTATION]
    if not found:
        return 1
    kind, length, value = found[0]
    usual = len(found) == 1 and kind == _SHORT and length == 1 and value <= 8
    return max(value, 1) if usual else None


def tidy(data: bytes) -> bytes:
    """The same JPEG with the usual headers and without bytes that belong to no segment. Its scans stay as they are."""
    frame = next((segment for segment in segments(data) if segment.marker in _ALL_FRAMES), None)
    baseline = frame is not None and frame.marker in (0xC0, 0xC1)
    components = data[frame.start + 5] if frame is not None and frame.stop - frame.start > 5 else 3
    out = bytearray(data[:2])
    for marker, start, stop in segments(data):
        content = bytearray(data[start:stop])
        if marker == APP0 and content.startswith(b"JFIF\0") and len(content) > 6 and content[5] != 1:
            content[5:7] = b"\1\1"  # the version, at which libjpeg warns and which means nothing
        elif marker == APP14 and content.startswith(b"Adobe") and len(content) > 11 and content[11] > 2:
            content[11] = 2 if components == 4 else 1  # what libjpeg assumes
        elif marker == SOS and baseline and len(content) > 3:
            content[-3:] = b"\0\x3f\0"  # the only values that there can be
        out += bytes([0xFF, marker])
        if marker != EOI:
            out += struct.pack(">H", len(content) + 2) + content
        if marker == SOS:
            out += data[stop : _end_of_scan(data, stop)]
    return bytes(out)


def without_padding(data: bytes, warning: str) -> bytes | None:
    """A tidied JPEG without the bytes behind its last scan of which libjpeg warns.

    None if the warning is of something else, or if the image may be damaged: if those bytes look like a part of it,
    which damage in a scan may leave, or if bytes like them were decoded as a part of it, as where the rest of a file
    was never written.
    """
    found = _PADDING.search(warning)
    if found is None or not data.endswith(_END):
        return None
    stop = len(data) - len(_END) - int(found[1])
    padding, before = set(data[stop : -len(_END)]), data[max(stop - _READ_AHEAD - 4, 0) : stop - _READ_AHEAD]
    if len(padding) > 2 + int(found[1]) // 4 or padding.issuperset(before):
        return None
    return data[:stop] + _END


def with_end(data: bytes) -> bytes:
    """A JPEG with the marker of its end."""
    return data if data.endswith(_END) else data + _END
