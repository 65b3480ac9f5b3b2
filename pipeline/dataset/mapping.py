"""Data files mapped into memory, and what the system is told about how they will be read."""

import mmap
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.errors import InputError

READ_AHEAD = 128 << 10  # Linux reads no more for one request to read ahead (its default read_ahead_kb)


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class HeldFiles:
    """Mapped files that are held to the lengths that they had when they were mapped."""

    def __init__(self) -> None:
        self._files: list[tuple[BinaryIO, int]] = []

    def hold(self, path: Path) -> None:
        """Adds a file. Raises OSError if it cannot be opened."""
        file = path.open("rb")
        self._files.append((file, os.fstat(file.fileno()).st_size))

    def check_lengths(self) -> None:
        """Checks that no file changed its length; takes a microsecond a file.

        Reading a mapped file behind its end would end the process (SIGBUS).

        Raises:
            InputError: if the length of a file is not what it was.
        """
        for file, length in self._files:
            if _file_size(file.fileno()) != length:
                raise InputError(f"{file.name}: was changed while in use; {REBUILD}")


class MappedFiles(HeldFiles):
    """Files mapped read-only.

    Attributes:
        arrays: the bytes of each file, uint8 [length].
        nbytes: of all files.
        large: whether memory cannot hold them. Random reads then bring in what is asked for and nothing around it.
            Smaller ones are mapped by large pages where the file system has them: finding the page takes a third of the
            time of a random gather of 64x64 images from 4 KiB pages.

    Args:
        paths: in order.

    Raises:
        InputError: if a file cannot be mapped.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.arrays: list[NDArray[np.uint8]] = []
        self._maps: list[mmap.mmap] = []
        for path in paths:
            try:
                file = path.open("rb")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: cannot be mapped ({error}); {REBUILD}") from error
            self._files.append((file, len(mapped)))
            self._maps.append(mapped)
            self.arrays.append(np.frombuffer(mapped, dtype=np.uint8))
        self.nbytes = sum(map(len, self.arrays))
        self.large = self.nbytes > machine_memory() / 2
        advice = mmap.MADV_RANDOM if self.large else getattr(mmap, "MADV_HUGEPAGE", mmap.MADV_NORMAL)
        for mapped in self._maps:
            with suppress(OSError):  # a system without large pages
                mapped.madvise(advice)

    def read(self, number: int, start: int, count: int) -> bytes:
        """Bytes of a file, not through the map. Raises OSError if they cannot be read."""
        return os.pread(self._files[number][0].fileno(), count, start)

    def will_need(self, first_file: int, start: int, last_file: int, stop: int) -> None:
        """Asks the system to start reading, from byte `start` of a file to before byte `stop` of that or a later one.

        Returns at once.
        """
        for number in range(first_file, last_file + 1):
            begin = start // mmap.PAGESIZE * mmap.PAGESIZE if number == first_file else 0
            end = stop if number == last_file else len(self.arrays[number])
            for piece in range(begin, end, READ_AHEAD):
                self._maps[number].madvise(mmap.MADV_WILLNEED, piece, min(READ_AHEAD, end - piece))


def _file_size(descriptor: int) -> int:
    """Bytes of an open file; the kernel does not build the ten-field result of os.fstat."""
    if compiled.kernels is None:
        return os.fstat(descriptor).st_size
    return int(compiled.kernels.file_size(descriptor))
