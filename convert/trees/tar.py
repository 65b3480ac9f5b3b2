"""A tar as a tree."""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import IO, Any

from feedline.convert.trees import BrokenFile, Contents, Damaged, Stamp, check_unchanged, stamp_of
from feedline.convert.trees.names import plain_name

BLOCK = 1 << 20
MAX_ZEROS = 16 << 20  # bytes behind the end that are looked at
HEADER = 512  # bytes; a tar consists of blocks of this size
REPLACED = "replaced by a later entry of the same name"


@dataclass
class TarTree:
    """The files in a tar that is not compressed, by their plain names (see `plain_name`).

    Args:
        path: the tar.
        name: what errors call it, if not by its path.
        stamp: of the tar as it is to be read; None for what it is now.

    Raises:
        OSError: if there is no such file.
    """

    path: Path
    name: str = ""
    stamp: Stamp | None = None

    def __post_init__(self) -> None:
        self._opened_as = self.stamp or stamp_of(self.path)

    @cached_property
    def contents(self) -> Contents:
        """See `Tree.contents`. Links and whatever is not a file are left out.

        Raises:
            InputError: if the tar cannot be read, is cut off, or has unsafe names.
        """
        places, folders, left_out, odd_end = self._index
        files = {name: size for name, (_, size) in sorted(places.items())}
        notes = [f"{self._shown.name}: {odd_end}"] if odd_end else []
        return Contents(files, sorted(folders), list(left_out), notes)

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        start, size = self._index[0][name]
        descriptor = _open(self.path, self._opened_as, os.getpid()).fileno()
        pieces = []
        while size:
            if not (data := os.pread(descriptor, min(size, BLOCK), start)):
                raise Damaged("damaged in the tar (it ends before)")
            pieces.append(data)
            start, size = start + len(data), size - len(data)
        return b"".join(pieces)

    @property
    def _index(self) -> "_Index":
        check_unchanged(self.path, self._opened_as, self._shown)
        return _read_index(self.path, self._opened_as, self._shown)

    @property
    def _shown(self) -> Path:
        return Path(self.name) if self.name else self.path

    def __getstate__(self) -> dict[str, Any]:
        # Without the cached list of names, which workers do not need.
        return {"path": self.path, "name": self.name, "_opened_as": self._opened_as}


# {name: (first byte, bytes)} of all files, folders, (name, reason) of the rest, and what is odd with the end
_Index = tuple[dict[str, tuple[int, int]], set[str], list[tuple[str, str]], str]


@lru_cache(maxsize=4096)  # shards are many, and workers that are forked have their lists already
def _read_index(path: Path, opened_as: Stamp, shown: Path) -> _Index:
    """Lists a tar: some 30,000 names a second."""
    del opened_as  # part of the cache key only
    places: dict[str, tuple[int, int]] = {}
    folders: set[str] = set()
    left_out: list[tuple[str, str]] = []
    odd_ends: list[str] = []
    for entry in _entries(path, shown, odd_ends):
        # Some programs on Windows write backslashes between folders. One in a file's name behind slashes is its own.
        around = entry.name.removeprefix("./").rpartition("/")[0]
        name = plain_name(shown, entry.name, backslashes=not around or "\\" in around)
        if entry.isdir():
            folders |= {name} - {""}
        elif entry.isreg() and not entry.issparse():
            if name in places:
                left_out.append((name, REPLACED))
            places[name] = entry.offset_data, entry.size
        else:
            link = entry.issym() or entry.islnk()
            left_out.append((name, "a link" if link else "a sparse file" if entry.isreg() else "not a file"))
    return places, folders, left_out, "".join(odd_ends)


def _entries(path: Path, shown: Path, odd_ends: list[str]) -> Iterator[tarfile.TarInfo]:
    """Yields the entries of a tar, and adds what is odd with its end."""
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                yield entry
                archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
            odd_ends.append(_odd_end(path, archive.offset))
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise BrokenFile(f"{shown}: not a readable tar ({error}); download it again") from error


def _odd_end(path: Path, end: int) -> str:
    """What is odd behind the last entry of a tar; empty if there are zeros only.

    Raises:
        ReadError: if there is a damaged header, which tarfile takes for the end.
    """
    with path.open("rb") as file:
        file.seek(end)
        if not (mark := file.read(HEADER)):
            return "ends without the mark of a tar's end, so it may be cut off; compare its size with the original's"
        if mark.strip(b"\0"):
            raise tarfile.ReadError(f"damaged at byte {end:,}")
        zeros = not file.read(MAX_ZEROS).strip(b"\0")
    return "" if zeros else "more follows the mark of the tar's end, and is not read; unpack tars that were joined"


@lru_cache(maxsize=64)
def _open(path: Path, opened_as: Stamp, process: int) -> IO[bytes]:
    del opened_as, process  # part of the cache key only
    return path.open("rb")
