"""The arrays in index/: memory-mapped, and checked before they are used."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.dataset.mapping import HeldFiles
from feedline.pipeline.errors import InputError, first_line

MAPPED_FROM = 64 << 20  # bytes: what is smaller is read, so that a file that is cut later cannot end the process


def load_array(
    path: Path, dtype: "np.dtype[Any]", rows: int | None, tail: tuple[int, ...] = (), held: HeldFiles | None = None
) -> NDArray[Any]:
    """Reads an array, or maps a large one into memory, and checks its type and shape.

    Args:
        path: a .npy file.
        dtype: wanted.
        rows: wanted length (any if None).
        tail: the other dimensions.
        held: gets the file if it is mapped, for checks of its length; None reads all files.

    Raises:
        InputError: if the file is missing, not an array, or of another type or shape.
    """
    try:
        mapped = held is not None and path.stat().st_size > MAPPED_FROM
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except Exception as error:  # numpy raises whatever the bytes lead to
        raise InputError(f"{path}: cannot read this index ({first_line(error)}); {REBUILD}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 + len(tail):
        raise InputError(f"{path}: not an index; {REBUILD}")
    shape = (len(array) if rows is None else rows, *tail)
    if array.dtype != dtype or array.shape != shape:
        raise InputError(
            f"{path}: expected {dtype} of shape {shape}, found {array.dtype} of shape {array.shape}; {REBUILD}"
        )
    if mapped and held is not None:
        held.hold(path)
    # A plain view: indexing an np.memmap costs a microsecond more each time.
    array = array.view(np.ndarray)
    array.setflags(write=False)
    return array


def check_range(path: Path, values: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    """Returns an index whose values all lie in low <= value < high; reads a part at a time.

    Raises:
        InputError: if a value is outside.
    """
    for start in range(0, len(values), 1 << 20):
        part = values[start : start + (1 << 20)]
        if int(part.min()) < low or int(part.max()) >= high:
            raise InputError(f"{path}: holds values outside {low}..{high - 1}; {REBUILD}")
    return values


class PathIndex:
    """The paths of all images, out of one file of UTF-8 bytes.

    Args:
        folder: `index/` of a dataset.
        count: images.
        held: as in `load_array`.

    Raises:
        InputError: if the files are missing or damaged.
    """

    def __init__(self, folder: Path, count: int, held: HeldFiles) -> None:
        self._file = folder / "paths.bin"
        self._offsets = load_array(folder / "paths.npy", np.dtype("<i8"), count + 1, held=held)
        try:
            mapped = self._file.stat().st_size > MAPPED_FROM
            whole = np.memmap(self._file, np.uint8, "r") if mapped else np.fromfile(self._file, np.uint8)
            self._bytes = whole.view(np.ndarray)
            if mapped:
                held.hold(self._file)
        except (OSError, ValueError) as error:
            raise InputError(f"{self._file}: cannot be read ({first_line(error)}); {REBUILD}") from error
        if len(self._bytes) != self._offsets[-1]:
            raise InputError(f"{self._file}: wrong length; {REBUILD}")
        check_range(folder / "paths.npy", self._offsets, 0, len(self._bytes) + 1)

    def __getitem__(self, image: int) -> str:
        """The path of an image, relative to the dataset folder.

        Raises:
            InputError: if it is no text, or leads out of the folder.
        """
        offsets = self._offsets
        try:
            path = self._bytes[offsets[image] : offsets[image + 1]].tobytes().decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{self._file}: the path of image {image} is not UTF-8; {REBUILD}") from error
        if not path or path[0] == "/" or "\0" in path or (".." in path and ".." in path.split("/")):
            raise InputError(f"{self._file}: image {image} lies at {path!r}, out of the folder; {REBUILD}")
        return path


def load_column(folder: Path, number: int, rows: int) -> NDArray[Any]:
    """Reads a further column of the source's table: int64, float64 or text [rows].

    Raises:
        InputError: if the file is missing or is something else.
    """
    path = folder / f"column-{number}.npy"
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises whatever the bytes lead to
        raise InputError(f"{path}: cannot read this column ({first_line(error)}); {REBUILD}") from error
    if not isinstance(array, np.ndarray) or array.shape != (rows,) or array.dtype.kind not in "ifU":
        raise InputError(f"{path}: not a column of {rows} values; {REBUILD}")
    return array
