"""Compressed files: unpacked once, because images are read at any place of a tar."""

import bz2
import contextlib
import gzip
import lzma
import zlib
from pathlib import Path
from typing import IO

from feedline.convert.trees import BrokenFile, check_ratio

BLOCK = 1 << 20
HEADER = 512  # bytes of a tar's first header

# {the first bytes of a compressed file: its compression}
_MAGIC = {b"\x1f\x8b": "gz", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, ValueError, OSError)


def compression(path: Path) -> str | None:
    """How a file is compressed, by its first bytes: `gz`, `bz2`, `xz`, or None."""
    with path.open("rb") as file:
        start = file.read(8)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def is_tar(path: Path) -> bool:
    """Whether a file, once uncompressed, is a tar: by its first block."""
    block = b""
    with contextlib.suppress(*_DAMAGE), _open(path) as file:
        block = file.read(HEADER)
    return len(block) == HEADER and (block[257:262] == b"ustar" or _checksum_fits(block))


def unpack(path: Path, target: Path) -> None:
    """Writes a compressed file uncompressed.

    Args:
        path: the compressed file.
        target: the file to write.

    Raises:
        InputError: if it is damaged, or would unpack to more.
        OSError: if `target` cannot be written.
    """
    packed = path.stat().st_size
    with _open(path) as source, target.open("wb") as file:
        while block := _next_block(source, path):
            file.write(block)
            check_ratio(path, packed, file.tell())


def _open(path: Path) -> IO[bytes]:
    """Opens a file for its uncompressed bytes."""
    match compression(path):
        case "gz":
            return gzip.open(path)  # type: ignore[return-value]
        case "bz2":
            return bz2.open(path)
        case "xz":
            return lzma.open(path)
    return path.open("rb")


def _next_block(source: IO[bytes], path: Path) -> bytes:
    try:
        return source.read(BLOCK)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk; BadGzipFile has no number
            raise
        raise BrokenFile(f"{path}: damaged ({error}); download it again") from error


def _checksum_fits(block: bytes) -> bool:
    """Whether a block is a tar's header as old programs write it, without `ustar`."""
    with contextlib.suppress(ValueError):
        stored = int(block[148:156].strip(b" \0"), 8)
        return stored == sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    return False
