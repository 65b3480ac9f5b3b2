"""A folder as a tree."""

import errno
import os
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from feedline.convert.trees import Contents
from feedline.convert.trees.names import is_hidden_folder, slashes
from feedline.pipeline.errors import InputError

BUILT, RUN = "a dataset that was built", "the folder of a run"  # why a folder is left out
_LINKS = {errno.ENOENT: "a link to a missing file", errno.ELOOP: "a link that leads to itself"}
_MAX_LINKS = 4  # links in a path; folders that link to each other have endlessly many paths
# {files of a folder that was written here: what it is}
_WRITTEN = {
    frozenset({"dataset.json", "doctor.json"}): BUILT,
    frozenset({"run.json", "log.jsonl"}): RUN,
    frozenset({"lr_range.json"}): RUN,
    frozenset({"eval.json", "per_class.csv"}): RUN,
    frozenset({"bench.json", "report.html"}): RUN,
    frozenset({"peek.png", "peek.html"}): RUN,
    frozenset({"probes.npz", "README.md"}): RUN,
}


@dataclass
class FolderTree:
    """The files below a folder. Links are followed.

    Args:
        root: the folder.
    """

    root: Path

    @cached_property
    def contents(self) -> Contents:
        """See `Tree.contents`. What is no file, cannot be read or leads round in a circle is left out.

        So are datasets, and what trainings and the like have written.

        Raises:
            InputError: if a folder that is not hidden cannot be read.
        """
        found = self._found
        files = {name: size for name, (size, _) in sorted(found.files.items())}
        return Contents(files, found.class_folders(), found.left_out, found.notes())

    @property
    def stamps(self) -> dict[str, tuple[int, int]]:
        """{name: (bytes, time of the last change in ns)} of all files, as they were listed."""
        return self._found.files

    @cached_property
    def _found(self) -> "_Found":
        found = _Found()
        pending = [_Folder("", frozenset((_number(self.root.stat()),)), 0)]
        while pending:
            folder = pending.pop()
            try:
                entries = list(os.scandir(self.root / folder.name))
            except OSError as error:
                if not any(map(is_hidden_folder, folder.name.split("/"))):
                    raise _unreadable(error) from error
                found.left_out.append((folder.name, f"cannot be read ({error.strerror})"))
                continue
            if folder.name and (what := written([entry.name for entry in entries])):  # into its own source
                found.left_out.append((folder.name, what))
                continue
            found.folders += [folder.name] if folder.name else []
            prefix = f"{folder.name}/" if folder.name else ""
            pending += [below for entry in entries if (below := found.add(entry, prefix + entry.name, folder))]
        return found

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        return (self.root / name).read_bytes()

    def head(self, name: str, count: int) -> bytes:
        """The first bytes of a file."""
        with (self.root / name).open("rb") as file:
            return file.read(count)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}  # without the cached list of names, which workers do not need


@dataclass(frozen=True)
class _Folder:
    """A folder to list.

    Attributes:
        name: in the tree; empty for the root.
        around: the numbers of it and of the folders around it, by which the file system knows them.
        links: how many of them are links.
    """

    name: str
    around: frozenset[tuple[int, int]]
    links: int


@dataclass
class _Found:
    """What is in a folder, as it is found. See `Contents`; `files` also has the time of the last change in ns."""

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)

    def class_folders(self) -> list[str]:
        """The folders, without those around what was written here: `runs/` is no class that lacks images."""
        written = (name for name, reason in self.left_out if reason in (BUILT, RUN))
        return sorted({*self.folders} - {name[:end] for name in written for end in slashes(name)})

    def notes(self) -> list[str]:
        """A line for each kind of folder that was written here."""
        notes = []
        for kind in (BUILT, RUN):
            names = sorted(name for name, reason in self.left_out if reason == kind)
            more = f"; nor are {len(names) - 1:,} more" if len(names) > 1 else ""
            notes += [f"{name}/ is {kind}, and is not read{more}" for name in names[:1]]
        return notes

    def add(self, entry: "os.DirEntry[str]", name: str, folder: _Folder) -> _Folder | None:
        """Takes an entry of a folder. Returns the folder that it is, if it is to be listed."""
        try:
            status = entry.stat()
        except OSError as error:
            self.left_out.append((name, _LINKS.get(error.errno or 0) or f"cannot be read ({error.strerror})"))
            return None
        if stat.S_ISREG(status.st_mode):
            self.files[name] = status.st_size, status.st_mtime_ns
        elif not stat.S_ISDIR(status.st_mode):
            self.left_out.append((name, _kind(status.st_mode)))
        elif entry.is_symlink() and _number(status) in folder.around:
            self.left_out.append((name, "a link to a folder around it"))
        elif folder.links + entry.is_symlink() > _MAX_LINKS:
            self.left_out.append((name, "a link within links"))
        else:
            return _Folder(name, folder.around | {_number(status)}, folder.links + entry.is_symlink())
        return None


def written(names: Collection[str]) -> str:
    """What a folder with these files is, if it was written here; else empty."""
    return next((kind for files, kind in _WRITTEN.items() if files <= set(names)), "")


def _number(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _kind(mode: int) -> str:
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def _unreadable(error: OSError) -> InputError:
    return InputError(f"{error.filename}: {error.strerror}; make it readable, or move it out of the source")
