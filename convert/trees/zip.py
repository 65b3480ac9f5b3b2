"""A zip as a tree."""

import contextlib
import lzma
import os
import re
import stat
import zipfile
import zlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from feedline.convert.trees import BrokenFile, Contents, Damaged, Stamp, check_ratio, check_unchanged, stamp_of
from feedline.convert.trees.names import plain_name
from feedline.pipeline.errors import InputError

_OTHERS = re.compile(r"\.(npz|pt|pth|ckpt|docx?|pptx?|xlsx?|apk|jar|z\d\d|part|crdownload)$", re.IGNORECASE)
_UTF8, _ENCRYPTED = 0x800, 0x1  # flags of an entry


@dataclass
class ZipTree:
    """The files in a zip, by their plain names (see `plain_name`).

    Args:
        path: the zip.

    Raises:
        OSError: if there is no such file.
    """

    path: Path

    def __post_init__(self) -> None:
        self._opened_as = stamp_of(self.path)

    @cached_property
    def contents(self) -> Contents:
        """See `Tree.contents`. Links and encrypted files are left out.

        Raises:
            InputError: if the zip cannot be read, has unsafe or repeated names, or is a zip bomb.
        """
        files: dict[str, int] = {}
        folders: set[str] = set()
        left_out: list[tuple[str, str]] = []
        _, entries = self._zip
        for name, entry in entries.items():
            if _is_folder(entry):
                folders.add(name)
            elif stat.S_ISLNK(entry.external_attr >> 16):
                left_out.append((name, "a link"))
            elif entry.flag_bits & _ENCRYPTED:
                left_out.append((name, "encrypted"))
            else:
                files[name] = entry.file_size
        check_ratio(self.path, self._opened_as[0], sum(files.values()))
        return Contents(dict(sorted(files.items())), sorted(folders), left_out)

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        archive, entries = self._zip
        try:
            return archive.read(entries[name])
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
            raise Damaged(f"damaged in the zip ({error})") from error

    @property
    def _zip(self) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
        check_unchanged(self.path, self._opened_as)
        return _open_zip(self.path, self._opened_as, os.getpid())

    def __getstate__(self) -> dict[str, Any]:
        # Without the cached list of names, which workers do not need.
        return {"path": self.path, "_opened_as": self._opened_as}


def is_zip(path: Path) -> bool:
    """Whether a file is a zip, by its first bytes and its name: files of other programs are zips inside."""
    with path.open("rb") as file:
        start = file.read(4)
    return start[:2] == b"PK" and (path.suffix.lower() == ".zip" or not _OTHERS.search(path.name))


@lru_cache(maxsize=2)
def _open_zip(path: Path, stamp: Stamp, process: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    """Opens a zip once per process: this reads the whole directory, a second for 110,000 names.

    Forked processes need one each, because they would share the file position.

    Returns:
        The zip, and its entries by plain name.
    """
    del stamp, process  # part of the cache key only
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises anything for damaged bytes
        raise BrokenFile(f"{path}: not a readable zip ({error}); download it again") from error
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        name = plain_name(path, _decoded_name(entry), backslashes=True)
        if name in entries and not (_is_folder(entry) and _is_folder(entries[name])):
            raise InputError(
                f"{path}: contains {name!r} twice; do not trust this zip, or unpack it yourself and give the folder"
            )
        if name:
            entries[name] = entry
    return archive, entries


def _is_folder(entry: zipfile.ZipInfo) -> bool:
    return entry.filename.endswith(("/", "\\"))


def _decoded_name(entry: zipfile.ZipInfo) -> str:
    """The name, also where a program wrote UTF-8 without saying so, as macOS does."""
    if not entry.flag_bits & _UTF8 and not entry.filename.isascii():
        with contextlib.suppress(UnicodeError):
            return entry.filename.encode("cp437").decode("utf-8")
    return entry.filename
