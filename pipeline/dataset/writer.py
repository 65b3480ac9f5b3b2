"""Writes packs, index and file lists, in id order."""

import math
import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.dataset.checksums import checksum, write_array, write_listing
from feedline.pipeline.dataset.description import PARTS
from feedline.pipeline.dataset.pack import PACK_INDEX

PACK_FILE_BYTES = 1 << 32  # the raw pack of Tiny ImageNet, 1.3 GiB, stays in one file: one call gathers a batch


@dataclass(frozen=True)
class Split:
    """Named lists of image ids; each int64, in file list order."""

    name: str
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @property
    def parts(self) -> dict[str, NDArray[np.int64]]:
        """The lists by part; `test` only if it has images."""
        return {part: ids for part in PARTS if len(ids := getattr(self, part)) or part != "test"}


class Record(NamedTuple):
    """One image of a dataset folder: its path there, its label, its size in pixels, whether `decode_plain` takes it,
    the checksum of its file."""

    path: str
    label: int
    height: int
    width: int
    plain: bool
    checksum: int


class PackWriter:
    """Appends images to a pack.

    A data file is closed before it would exceed `file_bytes`; an image never lies in two files.

    Args:
        folder: `packs/<kind>` of a dataset; created.
        file_bytes: the most bytes in a data file.

    Attributes:
        nbytes: written so far.
    """

    # Linux keeps what is written by whole large pages (2 MiB) in large pages, ready to be mapped as such.
    WRITE_BYTES = 8 << 20

    def __init__(self, folder: Path, file_bytes: int = PACK_FILE_BYTES) -> None:
        self.folder, self.file_bytes = folder, file_bytes
        self.nbytes = 0
        self._rows = array("Q")  # five numbers an image, in the order of PACK_INDEX
        self._checksums = array("Q")
        self._sizes: set[tuple[int, int]] = set()
        self._file: BinaryIO | None = None
        self._pending = bytearray()
        self._number, self._offset = -1, 0
        folder.mkdir(parents=True)

    def add(self, data: bytes, height: int, width: int) -> None:
        """Appends an image: its bytes and its size in pixels."""
        if self._file is None or self._offset + len(data) > self.file_bytes:
            self._next_file()
        self._pending += data
        if (whole := len(self._pending) // self.WRITE_BYTES * self.WRITE_BYTES) > 0:
            self._write(whole)
        self._rows.extend((self._offset, len(data), self._number, height, width))
        self._checksums.append(checksum(data))
        self._offset += len(data)
        self._sizes.add((height, width))
        self.nbytes += len(data)

    def close(self) -> dict[str, Any]:
        """Writes what is left, and the index; returns what dataset.json says of the pack."""
        self._end_file()
        rows = np.frombuffer(self._rows, dtype=np.uint64).reshape(-1, len(PACK_INDEX.names or ()))
        index = np.empty(len(rows), dtype=PACK_INDEX)
        for column, name in enumerate(PACK_INDEX.names or ()):
            index[name] = rows[:, column]
        np.save(self.folder / "index.npy", index)
        write_array(self.folder, self._checksums)
        size = list(next(iter(self._sizes))) if len(self._sizes) == 1 else None
        return {"bytes": self.nbytes, "files": self._number + 1, "image_size": size}

    def _next_file(self) -> None:
        self._end_file()
        self._number += 1
        self._offset = 0
        self._file = (self.folder / f"{self._number:05d}.bin").open("wb")

    def _write(self, count: int) -> None:
        assert self._file is not None
        self._file.write(self._pending[:count])
        del self._pending[:count]

    def _end_file(self) -> None:
        if self._file is not None:
            self._write(len(self._pending))
            self._file.close()


def write_index(root: Path, records: Iterable[Record], splits: Iterable[Split]) -> None:
    """Writes `index/` and `lists/`: the same content for loaders and for people (and DALI's own readers).

    Args:
        root: the dataset folder.
        records: of all images, in id order.
        splits: at least one.
    """
    folder = root / "index"
    folder.mkdir(parents=True)
    labels, sizes, plain, checksums, paths = array("i"), array("i"), bytearray(), array("Q"), []
    for record in records:
        paths.append(record.path.encode())
        labels.append(record.label)
        sizes.extend((record.height, record.width))
        plain.append(record.plain)
        checksums.append(record.checksum)
    np.save(folder / "labels.npy", np.array(labels, dtype=np.int32))
    np.save(folder / "sizes.npy", np.array(sizes, dtype=np.int32).reshape(-1, 2))
    np.save(folder / "plain.npy", np.array(plain, dtype=bool))
    write_array(folder, checksums)
    np.save(folder / "paths.npy", np.cumsum([0, *map(len, paths)], dtype=np.int64))
    (folder / "paths.bin").write_bytes(b"".join(paths))
    for split in splits:
        for part, ids in split.parts.items():
            np.save(folder / f"{split.name}-{part}.npy", ids.astype(np.int64))
            target = root / "lists" / split.name / f"{part}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join(b"%b %d\n" % (paths[i], labels[i]) for i in ids.tolist()))


def write_checksums(root: Path) -> None:
    """Writes `checksums.txt`, the last file of a complete folder: of all files but images and packs' data."""
    files = (path for path in root.iterdir() if path.is_file())
    inner = (path for folder in ("index", "lists", "packs") for path in (root / folder).rglob("*") if path.is_file())
    paths = (path.relative_to(root) for path in (*files, *inner))
    write_listing(root, (path.as_posix() for path in paths if path.parts[0] != "packs" or path.suffix != ".bin"))


_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_NAME = re.compile(r"[+-]?0\d|.*_", re.ASCII)  # 007 and 1_2, which Python takes for numbers


def write_columns(root: Path, columns: Mapping[str, Sequence[str]]) -> None:
    """Writes the further columns of a source's table, as `Dataset.column` reads them.

    A column of whole numbers becomes int64, one of numbers and empty fields float64, any other text.

    Args:
        root: the dataset folder, with its index.
        columns: {name: a text for each image id}.
    """
    for number, texts in enumerate(columns.values()):
        np.save(root / f"index/column-{number}.npy", _typed(texts))


def _typed(texts: Sequence[str]) -> NDArray[Any]:
    """Numbers, if all texts are some that stay what they are: whole ones, or floats where a field is empty."""
    filled = [text.strip() for text in texts if text.strip()]
    if filled and not any(map(_NAME.match, filled)):
        with suppress(ValueError, OverflowError):
            whole = [text for text in filled if _WHOLE.fullmatch(text)]
            if len(whole) == len(texts):
                return np.array([int(text) for text in whole], dtype=np.int64)
            finite = all(math.isfinite(float(text)) for text in filled if any(map(str.isdigit, text)))  # 1e400 is not
            if finite and all(int(text) == float(text) for text in whole):
                return np.array([float(text) if text.strip() else np.nan for text in texts], dtype=np.float64)
    return np.array(texts, dtype=np.str_)
