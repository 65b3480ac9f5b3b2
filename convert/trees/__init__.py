"""Trees: the names and bytes of a source, whether it is a folder, an archive or shards."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from feedline.pipeline.errors import InputError

Stamp = tuple[int, int]  # of a file: bytes, and the time of the last change in ns
# An archive may unpack to ALWAYS_ALLOWED bytes, and beyond that to MAX_RATIO times its size: images hardly compress.
ALWAYS_ALLOWED = 1 << 30
MAX_RATIO = 200


@dataclass(frozen=True)
class Contents:
    """What a tree holds. Names are relative, with forward slashes.

    Attributes:
        files: {name: bytes}, sorted by name.
        folders: names of folders, sorted, without a slash at the end.
        left_out: (name, reason) of every entry that is not in `files`.
        notes: lines for the user.
    """

    files: dict[str, int]
    folders: list[str]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Readable(Protocol):
    """Bytes by names. Can be pickled for another process."""

    def read(self, name: str) -> bytes:
        """Returns the bytes of a file.

        Raises:
            Damaged: if this file is damaged; the others may be whole.
            OSError: if the file cannot be read.
            InputError: if the tree has changed since it was opened.
        """


class Tree(Readable, Protocol):
    """Names and bytes."""

    @property
    def contents(self) -> Contents:
        """Lists the tree.

        Raises:
            InputError: if it cannot be listed, or must not be used.
        """


class Damaged(ValueError):
    """One file of a tree is damaged."""


class BrokenFile(InputError):
    """A file that should be a source is cut off, or something else than it is called; another download may help."""


def stamp_of(path: Path) -> Stamp:
    """What changes when a file is written again."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def check_unchanged(path: Path, stamp: Stamp, shown: Path | None = None) -> None:
    """Checks that a file is as it was when it was opened. Errors call it `shown`, or by its path.

    Raises:
        InputError: if it has changed, or is gone.
    """
    try:
        now = stamp_of(path)
    except OSError as error:
        raise InputError(f"{shown or path}: {error.strerror}; it must stay there until it is converted") from error
    if now != stamp:
        raise InputError(f"{shown or path}: was changed while it was read; convert it when it is complete")


def check_ratio(path: Path, packed: int, unpacked: int) -> None:
    """Checks that an archive of `packed` bytes does not unpack to far more.

    Raises:
        InputError: if it does.
    """
    if unpacked > max(ALWAYS_ALLOWED, MAX_RATIO * packed):
        raise InputError(
            f"{path}: would unpack from {packed / 2**20:,.1f} MiB to {unpacked / 2**30:,.1f} GiB or more; images do "
            "not compress like that, this is a bomb"
        )
