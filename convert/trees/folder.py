"""A folder as a tree."""

import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from feedline.convert.trees import Contents
from feedline.pipeline.errors import InputError

# Hidden files and what file managers leave, which are no part of a source.
_LITTER = re.compile(r"(^|/)(\.|Thumbs\.db$|desktop\.ini$|__MACOSX/|@eaDir/)")
_DATASET = {"dataset.json", "doctor.json"}  # files of a dataset folder


@dataclass
class FolderTree:
    """The files below a folder. Links are followed.

    Args:
        root: the folder.
    """

    root: Path

    @cached_property
    def contents(self) -> Contents:
        """See `Tree.contents`. Links to missing files, sockets and the like are skipped, datasets left out."""
        files, folders, left_out = self._listing
        return Contents({name: size for name, (size, _) in sorted(files.items())}, sorted(folders), left_out)

    @property
    def stamps(self) -> dict[str, tuple[int, int]]:
        """{name: (bytes, time of the last change in ns)} of all files, as they were listed."""
        return self._listing[0]

    @cached_property
    def _listing(self) -> tuple[dict[str, tuple[int, int]], list[str], list[tuple[str, str]]]:
        files: dict[str, tuple[int, int]] = {}
        folders: list[str] = []
        left_out: list[tuple[str, str]] = []
        for folder, subfolders, names in os.walk(self.root, onerror=_refuse, followlinks=True):
            short = os.path.relpath(folder, self.root).replace(os.sep, "/")
            prefix = "" if short == "." else f"{short}/"
            if prefix and _DATASET.issubset(names):  # built into its own source
                left_out.append((short, "a dataset that was built"))
                subfolders[:] = []
                continue
            subfolders[:] = [name for name in subfolders if not _is_cycle(folder, name)]
            folders += [prefix + name for name in subfolders]
            for name in names:
                try:
                    status = os.stat(f"{folder}/{name}")  # noqa: PTH116
                except FileNotFoundError:  # a link to a missing file
                    continue
                if stat.S_ISREG(status.st_mode):
                    files[prefix + name] = status.st_size, status.st_mtime_ns
        return files, folders, left_out

    def read(self, name: str) -> bytes:
        """See `Tree.read`."""
        return (self.root / name).read_bytes()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # without the cached list of names, which workers do not need


def is_litter(name: str) -> bool:
    """Whether a file of a folder is hidden, or left there by a file manager."""
    return _LITTER.search(name) is not None


def _is_cycle(folder: str, name: str) -> bool:
    """Whether a subfolder is a link to a folder that contains it."""
    path = os.path.join(folder, name)  # noqa: PTH118
    parent = os.path.realpath(folder)
    return os.path.islink(path) and (parent + os.sep).startswith(os.path.realpath(path) + os.sep)  # noqa: PTH114


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: {error.strerror}; make it readable, or move it out of the source")
