"""Packs: all images of a dataset in a few large files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.dataset.checksums import FirstReads, load_checksums
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.dataset.index import load_array
from feedline.pipeline.dataset.mapping import HeldFiles, MappedFiles
from feedline.pipeline.errors import InputError

PACK_KINDS = ("jpeg", "raw")

# One row an image: where its bytes lie, and its size in pixels as stored in this pack.
PACK_INDEX = np.dtype(
    [("offset", "<u8"), ("length", "<u4"), ("file", "<u4"), ("height", "<u4"), ("width", "<u4")], align=False
)


class Pack:
    """All images of a dataset in a few large memory-mapped files.

    Attributes:
        size: (height, width) in pixels of all images, None if they vary.
        files: the data.
        first_reads: compares each image with its checksum, once.

    Args:
        folder: `packs/<kind>` of a dataset.
        count: images in the dataset.
        size: as above.

    Raises:
        InputError: if the index is missing or damaged, or a file cannot be mapped.
    """

    def __init__(self, folder: Path, count: int, size: tuple[int, int] | None) -> None:
        self.folder, self._count, self.size = folder, count, size
        self._held = HeldFiles()
        self._index = load_array(folder / "index.npy", PACK_INDEX, count, held=self._held)
        self.first_reads = FirstReads(load_checksums(folder, count))
        self.files = MappedFiles(sorted(folder.glob("*.bin")))
        self._lengths = np.array([len(data) for data in self.files.arrays], dtype=np.uint64)
        self._starts = np.array([data.ctypes.data for data in self.files.arrays], dtype=np.uint64)
        self._images: list[NDArray[np.uint8]] | None = None

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Height and width of images in pixels: int64 [B, 2]."""
        if self.size is not None:
            return np.broadcast_to(np.array(self.size, dtype=np.int64), (len(ids), 2))
        self._held.check_lengths()
        rows = self._index[ids]
        return np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64)

    def encoded(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """The bytes of images: read-only views into the map, uint8 [length] each.

        Raises:
            InputError: if the index points outside the data.
        """
        rows, files = self._rows(ids), self.files.arrays
        return [
            files[f][o : o + n]
            for f, o, n in zip(rows["file"].tolist(), rows["offset"].tolist(), rows["length"].tolist(), strict=True)
        ]

    def read(self, image: int) -> bytes:
        """The bytes of an image, not through the map: a disk that cannot read them gives an error.

        Raises:
            InputError: if the index points outside the data.
            OSError: if they cannot be read.
        """
        row = self._rows(np.array([image]))[0]
        return self.files.read(int(row["file"]), int(row["offset"]), int(row["length"]))

    def changed(self, ids: NDArray[np.int64]) -> int | None:
        """The first image whose bytes are not those that were written, of those read for the first time; None if none.

        Raises:
            InputError: if the index points outside the data.
        """
        if self.first_reads.done or len(unread := self.first_reads.unread(ids)) == 0:
            return None
        return self.first_reads.changed(ids[unread], self.encoded(ids[unread]))

    def addresses(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """Where the bytes of images lie in memory, uint64 [B], and how many they are, uint32 [B].

        Raises:
            InputError: if the index points outside the data.
        """
        rows = self._rows(ids)
        return self._starts[rows["file"]] + rows["offset"], np.ascontiguousarray(rows["length"])

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Decoded images: read-only views into the map, uint8 [height, width, 3] each.

        Raises:
            InputError: if the index points outside the data or contradicts itself.
        """
        self._held.check_lengths()
        rows = self._index[ids]
        shapes = zip(rows["height"].tolist(), rows["width"].tolist(), strict=True)
        try:
            return [data.reshape(h, w, 3) for data, (h, w) in zip(self.encoded(ids), shapes, strict=True)]
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{self.folder}: lengths and sizes in the index differ; {REBUILD}") from error

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copies decoded images of one size into `out`, uint8 [B, height, width, 3], contiguous.

        They lie in id order, so the index is not read.

        Raises:
            InputError: if the files are not as long as images of this size make them.
        """
        flat = out.reshape(len(out), -1)
        files = self._images_by_file(flat.shape[1])
        self.files.check_lengths()
        if len(files) == 1:
            # mode="clip" writes to `out` directly, others through a copy; ids are those of this dataset.
            files[0].take(ids, axis=0, out=flat, mode="clip")
            return
        numbers, places = np.divmod(ids, len(files[0]))
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            flat[here] = files[number].take(places[here], axis=0)

    def as_array(self) -> NDArray[np.uint8] | None:
        """All decoded images, uint8 [N, height, width, 3], if they have one size and lie in one file; else None.

        Raises:
            InputError: if the files are not as long as images of this size make them.
        """
        if self.size is None:
            return None
        files = self._images_by_file(3 * self.size[0] * self.size[1])
        return files[0].reshape(-1, *self.size, 3) if len(files) == 1 else None

    def will_need(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> None:
        """Asks the system to start reading runs of neighbours: images firsts[i] to lasts[i], both int64 [runs].

        Raises:
            InputError: if the index points outside the data.
        """
        begins, ends = self._rows(firsts), self._rows(lasts)
        stops = ends["offset"] + ends["length"]
        runs = zip(
            begins["file"].tolist(), begins["offset"].tolist(), ends["file"].tolist(), stops.tolist(), strict=True
        )
        for run in runs:
            self.files.will_need(*run)

    def _images_by_file(self, nbytes: int) -> list[NDArray[np.uint8]]:
        """The files as uint8 [images, nbytes], `nbytes` being the size of an image."""
        if self._images is None or self._images[0].shape[1] != nbytes:
            files = self.files.arrays
            if not files or nbytes < 1:
                raise InputError(f"{self.folder}: holds no data; {REBUILD}")
            counts = [len(data) // nbytes for data in files]
            full, even = counts[:1] * (len(counts) - 1), all(len(data) % nbytes == 0 for data in files)
            if sum(counts) != self._count or counts[:-1] != full or not even:
                raise InputError(f"{self.folder}: the files are not {self._count} images of {nbytes} bytes; {REBUILD}")
            self._images = [data.reshape(-1, nbytes) for data in files]
        return self._images

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of the index, checked against the data."""
        self._held.check_lengths()
        rows = self._index[ids]
        numbers, offsets, lengths = rows["file"], rows["offset"], rows["length"].astype(np.uint64)
        # Subtracted, not added: 64 bits may overflow.
        if (
            np.any(numbers >= len(self._lengths))
            or np.any(offsets > self._lengths[numbers])
            or np.any(lengths > self._lengths[numbers] - offsets)
        ):
            raise InputError(f"{self.folder}: the index points outside the data; {REBUILD}")
        self.files.check_lengths()
        return rows
