"""The dataset folder: its format, read and written here only.

A dataset folder holds the images in ImageFolder layout, file lists that DALI's own readers take, and beside them what a
loader needs without ever reading a list as text: memory-mapped arrays with one row an image. An image is known by its
id, the row. ::

    dataset.json                    what the folder is (see `Dataset`)
    doctor.json                     what was found while every image was decoded
    train/<class>/x.JPEG, val/...   the images
    lists/<split>/<part>.txt        `path label` a line
    index/labels.npy                int32 [N]
    index/sizes.npy                 int32 [N, 2], height and width in pixels
    index/plain.npy                 bool [N], JPEG that needs no inspection (see `pipeline.decode`)
    index/paths.npy, paths.bin      int64 [N + 1] offsets into the UTF-8 bytes of all paths
    index/<split>-<part>.npy        int64 ids, in the order of the file list
    packs/<kind>/index.npy          PACK_INDEX [N]
    packs/<kind>/00000.bin, ...     the data, at most 4 GiB a file
"""

import json
import mmap
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.errors import InputError

FORMAT = "feedline-dataset"
VERSION = 2
PACK_FILE_BYTES = 1 << 32  # the raw pack of Tiny ImageNet, 1.3 GiB, stays in one file: one call gathers a batch
PACK_KINDS = ("jpeg", "raw")
PARTS: tuple[Literal["train", "val"], ...] = ("train", "val")
MAX_SIDE = 1 << 16  # pixels
READ_AHEAD = 128 << 10  # Linux reads no more for one request to read ahead (its default read_ahead_kb)
AGAIN = "build the dataset again with --force"

# One row an image: where its bytes lie, and its size in pixels as stored in this pack.
PACK_INDEX = np.dtype(
    [("offset", "<u8"), ("length", "<u4"), ("file", "<u4"), ("height", "<u4"), ("width", "<u4")], align=False
)


@dataclass(frozen=True)
class ClassInfo:
    """One class: its label (`id`), the folder that holds its images, and the words that describe it."""

    id: int
    folder: str
    words: str


def file_size(descriptor: int) -> int:
    """Bytes of an open file."""
    if compiled.kernels is None:
        return os.fstat(descriptor).st_size
    return int(compiled.kernels.file_size(descriptor))


def machine_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _load_array(path: Path, dtype: "np.dtype[Any]", rows: int | None, tail: tuple[int, ...] = ()) -> NDArray[Any]:
    """Memory-maps an array of the index and holds it to what it must look like.

    Raises:
        InputError: if the file is missing, not an array, or of another type or shape.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises whatever the bytes lead to
        raise InputError(f"{path}: cannot read this index ({_line(error)}); {AGAIN}") from error
    if not isinstance(array, np.ndarray) or array.ndim != 1 + len(tail):
        raise InputError(f"{path}: not an index; {AGAIN}")
    shape = (len(array) if rows is None else rows, *tail)
    if array.dtype != dtype or array.shape != shape:
        raise InputError(
            f"{path}: expected {dtype} of shape {shape}, found {array.dtype} of shape {array.shape}; {AGAIN}"
        )
    # A plain view: indexing an np.memmap costs a microsecond more each time.
    return array.view(np.ndarray)


def _line(error: Exception) -> str:
    """The first line of what an exception says, not too long."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120]


def _in_range(path: Path, values: NDArray[Any], low: int, high: int) -> NDArray[Any]:
    """Holds all values of an index to low <= value < high, a few at a time.

    Raises:
        InputError: if one is outside.
    """
    for start in range(0, len(values), 1 << 20):
        some = values[start : start + (1 << 20)]
        if int(some.min()) < low or int(some.max()) >= high:
            raise InputError(f"{path}: holds values outside {low}..{high - 1}; {AGAIN}")
    return values


class Pack:
    """All images of a dataset in a few large memory-mapped files.

    Args:
        folder: `packs/<kind>` of a dataset.
        count: images in the dataset.
        size: (height, width) in pixels of all its images, None if they vary.

    Raises:
        InputError: if the index is missing or not one.
    """

    def __init__(self, folder: Path, count: int, size: tuple[int, int] | None) -> None:
        self.folder, self._count, self.size = folder, count, size
        self.index = _load_array(folder / "index.npy", PACK_INDEX, count)
        self._files: list[NDArray[np.uint8]] = []
        self._maps: list[mmap.mmap] = []
        self._open: list[tuple[BinaryIO, int]] = []
        for path in sorted(folder.glob("*.bin")):
            try:
                file = path.open("rb")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: cannot be mapped ({error}); {AGAIN}") from error
            self._open.append((file, len(mapped)))
            self._maps.append(mapped)
            self._files.append(np.frombuffer(mapped, dtype=np.uint8))
        self._lengths = np.array([len(data) for data in self._files], dtype=np.uint64)
        self._images: list[NDArray[np.uint8]] | None = None
        # Of a pack that memory cannot hold, random reads shall bring in what they ask for and nothing around it.
        self.large = self.nbytes > machine_memory() / 2
        # Others shall come in by large pages, where the system has them for files: random reads then spend no time on
        # looking up where a page is, a third of what a gather of 64x64 takes.
        advice = mmap.MADV_RANDOM if self.large else getattr(mmap, "MADV_HUGEPAGE", mmap.MADV_NORMAL)
        for mapped in self._maps:
            with suppress(OSError):  # a system without large pages
                mapped.madvise(advice)

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Height and width of some images in pixels: int64 [B, 2]."""
        if self.size is not None:
            return np.broadcast_to(np.array(self.size, dtype=np.int64), (len(ids), 2))
        rows = self.index[ids]
        return np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64)

    def encoded(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """The bytes of some images: read-only views into the map, uint8 [length] each.

        Raises:
            InputError: if the index points outside the data.
        """
        rows, files = self._rows(ids), self._files
        return [
            files[f][o : o + n]
            for f, o, n in zip(rows["file"].tolist(), rows["offset"].tolist(), rows["length"].tolist(), strict=True)
        ]

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Decoded images: read-only views into the map, uint8 [height, width, 3] each.

        Raises:
            InputError: if the index points outside the data or contradicts itself.
        """
        rows = self.index[ids]
        shapes = zip(rows["height"].tolist(), rows["width"].tolist(), strict=True)
        try:
            return [data.reshape(h, w, 3) for data, (h, w) in zip(self.encoded(ids), shapes, strict=True)]
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{self.folder}: lengths and sizes in the index differ; {AGAIN}") from error

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copies decoded images of one size into `out`, uint8 [B, height, width, 3], contiguous.

        They lie in id order, so their places need no look into the index.

        Raises:
            InputError: if the files are not as long as images of this size make them.
        """
        flat = out.reshape(len(out), -1)
        files = self._files_of(flat.shape[1])
        self.check_files()
        if len(files) == 1:
            # mode="clip" writes to `out` directly, others through a copy; ids are those of this dataset.
            files[0].take(ids, axis=0, out=flat, mode="clip")
            return
        numbers, places = np.divmod(ids, len(files[0]))
        for number in np.unique(numbers).tolist():
            here = np.flatnonzero(numbers == number)
            flat[here] = files[number].take(places[here], axis=0)

    def in_one_file(self, size: tuple[int, int]) -> NDArray[np.uint8] | None:
        """All decoded images of one size, uint8 [N, height, width, 3], if they lie in one file; None if they do not.

        Raises:
            InputError: if the files are not as long as images of this size make them.
        """
        files = self._files_of(3 * size[0] * size[1])
        return files[0].reshape(-1, *size, 3) if len(files) == 1 else None

    def expect(self, ids: NDArray[np.int64]) -> None:
        """Tells the system to begin reading some images, so that they come in side by side instead of one by one.

        Single images of a pack that memory can hold are left to the system's own reading ahead.
        """
        if not self.large and not (ids[1:] - ids[:-1] == 1).any():
            return
        ends = np.flatnonzero(np.diff(ids, append=-1) != 1) + 1  # runs of neighbours
        firsts, lasts = ids[np.concatenate([[0], ends[:-1]])], ids[ends - 1]
        if not self.large:
            several = lasts > firsts
            firsts, lasts = firsts[several], lasts[several]
        begins, stops = self._rows(firsts), self._rows(lasts)
        for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True):
            self._expect(begin[2], begin[0], stop[2], stop[0] + stop[1])

    def _expect(self, first_file: int, begin: int, last_file: int, end: int) -> None:
        for number in range(first_file, last_file + 1):
            start = begin // mmap.PAGESIZE * mmap.PAGESIZE if number == first_file else 0
            stop = end if number == last_file else len(self._files[number])
            for piece in range(start, stop, READ_AHEAD):
                self._maps[number].madvise(mmap.MADV_WILLNEED, piece, min(READ_AHEAD, stop - piece))

    def _files_of(self, size: int) -> list[NDArray[np.uint8]]:
        """The files as uint8 [images, size]."""
        if self._images is None or self._images[0].shape[1] != size:
            if not self._files or size < 1:
                raise InputError(f"{self.folder}: holds no data; {AGAIN}")
            counts = [len(data) // size for data in self._files]
            full, even = counts[:1] * (len(counts) - 1), all(len(data) % size == 0 for data in self._files)
            if sum(counts) != self._count or counts[:-1] != full or not even:
                raise InputError(f"{self.folder}: the files are not {self._count} images of {size} bytes; {AGAIN}")
            self._images = [data.reshape(-1, size) for data in self._files]
        return self._images

    def _rows(self, ids: NDArray[np.int64]) -> NDArray[Any]:
        """Rows of the index, checked against the data."""
        rows = self.index[ids]
        numbers, offsets, lengths = rows["file"], rows["offset"], rows["length"].astype(np.uint64)
        # Subtracted, not added: 64 bits may overflow.
        if (
            np.any(numbers >= len(self._files))
            or np.any(offsets > self._lengths[numbers])
            or np.any(lengths > self._lengths[numbers] - offsets)
        ):
            raise InputError(f"{self.folder}: the index points outside the data; {AGAIN}")
        self.check_files()
        return rows

    def check_files(self) -> None:
        """Reading where a file was cut off in the meantime would end the process (SIGBUS). A microsecond a file."""
        for file, length in self._open:
            if file_size(file.fileno()) != length:
                raise InputError(f"{file.name}: was changed while in use; {AGAIN}")

    @property
    def nbytes(self) -> int:
        return sum(len(data) for data in self._files)


class PackWriter:
    """Appends images to a pack, in id order.

    A data file is closed before it would exceed `file_bytes`; an image never lies in two files.
    """

    # Linux keeps what is written by whole large pages (2 MiB) in large pages, ready to be mapped as such.
    WRITE_BYTES = 8 << 20

    def __init__(self, folder: Path, file_bytes: int = PACK_FILE_BYTES) -> None:
        self.folder = folder
        self.file_bytes = file_bytes
        self.nbytes = 0
        self._rows: list[tuple[int, int, int, int, int]] = []
        self._sizes: set[tuple[int, int]] = set()
        self._file: BinaryIO | None = None
        self._pending = bytearray()
        self._number = -1
        self._offset = 0
        folder.mkdir(parents=True)

    def add(self, data: bytes, height: int, width: int) -> None:
        if self._file is None or self._offset + len(data) > self.file_bytes:
            self._next_file()
        self._pending += data
        if (whole := len(self._pending) // self.WRITE_BYTES * self.WRITE_BYTES) > 0:
            self._write(whole)
        self._rows.append((self._offset, len(data), self._number, height, width))
        self._offset += len(data)
        self._sizes.add((height, width))
        self.nbytes += len(data)

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

    def about(self) -> dict[str, Any]:
        """What dataset.json says of the pack."""
        size = list(next(iter(self._sizes))) if len(self._sizes) == 1 else None
        return {"bytes": self.nbytes, "files": self._number + 1, "image_size": size}

    def close(self) -> None:
        self._end_file()
        np.save(self.folder / "index.npy", np.array(self._rows, dtype=PACK_INDEX))


@dataclass(frozen=True)
class Split:
    """A named pair of lists of image ids; each int64, in file list order."""

    name: str
    train: NDArray[np.int64]
    val: NDArray[np.int64]


@dataclass(frozen=True)
class Record:
    """One image on its way into a dataset folder."""

    path: str
    label: int
    height: int
    width: int
    plain: bool


def write_index(root: Path, records: Sequence[Record], splits: Iterable[Split]) -> None:
    """Writes `index/` and `lists/`: the same content for loaders and for people (and DALI's own readers)."""
    folder = root / "index"
    folder.mkdir(parents=True)
    paths = [record.path.encode() for record in records]
    np.save(folder / "labels.npy", np.array([r.label for r in records], dtype=np.int32))
    np.save(folder / "sizes.npy", np.array([(r.height, r.width) for r in records], dtype=np.int32).reshape(-1, 2))
    np.save(folder / "plain.npy", np.array([r.plain for r in records], dtype=bool))
    np.save(folder / "paths.npy", np.cumsum([0, *map(len, paths)], dtype=np.int64))
    (folder / "paths.bin").write_bytes(b"".join(paths))
    for split in splits:
        for part in PARTS:
            ids: NDArray[np.int64] = getattr(split, part)
            np.save(folder / f"{split.name}-{part}.npy", ids.astype(np.int64))
            lines = (f"{records[i].path} {records[i].label}\n" for i in ids.tolist())
            target = root / "lists" / split.name / f"{part}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(lines), encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes readable JSON; the same content gives the same bytes."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_meta(root: Path, *, classes: Sequence[ClassInfo], **fields: Any) -> None:
    """Writes `dataset.json`, the last file of a complete folder. `fields` are those that `Dataset` reads."""
    write_json(
        root / "dataset.json",
        {"format": FORMAT, "version": VERSION, **fields, "classes": [asdict(c) for c in classes]},
    )


def _size(value: Any) -> tuple[int, int] | None:
    """(height, width) from dataset.json."""
    if value is None:
        return None
    height, width = int(value[0]), int(value[1])
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ValueError(f"size {value}")
    return height, width


class Dataset:
    """A dataset folder, open for reading. Nothing but `dataset.json` is loaded whole.

    Args:
        root: the folder that `convert/build.py` wrote.

    Attributes:
        name: e.g. `tiny-imagenet`.
        fingerprint: hex digest over every image's path, label and bytes, and the splits; checkpoints carry it.
        image_size: (height, width) in pixels if all images share one size, else None.
        classes: in label order.
        mean, std: measured over the train images, per channel RGB, in 0..1.
        count: images in all.
        splits: {split: {part: images}}.
        packs: {kind: {"bytes": ..., "files": ..., "image_size": [height, width] or None}}.

    Raises:
        InputError: if there is no dataset there or its description cannot be used.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        meta = self._read_meta()
        try:
            self.name = str(meta["name"])
            self.fingerprint = str(meta["fingerprint"])
            self.image_size = _size(meta["image_size"])
            self.classes = [ClassInfo(int(c["id"]), str(c["folder"]), str(c["words"])) for c in meta["classes"]]
            self.mean = tuple(float(v) for v in meta["mean"])
            self.std = tuple(float(v) for v in meta["std"])
            self.count = int(meta["count"])
            if self.count < 1 or [c.id for c in self.classes] != list(range(len(self.classes))):
                raise ValueError("count or classes")
            self.splits = {str(s): {p: int(n[p]) for p in PARTS} for s, n in meta["splits"].items()}
            self.packs = {str(kind): dict(about) for kind, about in meta["packs"].items()}
            self._pack_sizes = {kind: _size(about["image_size"]) for kind, about in self.packs.items()}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise InputError(f"{self.root / 'dataset.json'}: {type(error).__name__} on {error}; {AGAIN}") from error
        self.meta = meta

    def _read_meta(self) -> dict[str, Any]:
        path = self.root / "dataset.json"
        build = "build it with: python convert/build.py --out " + str(self.root)
        try:
            meta = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"no dataset at {self.root} (there is no dataset.json); {build}") from error
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: cannot be read ({_line(error)}); {build} --force") from error
        if not isinstance(meta, dict) or meta.get("format") != FORMAT:
            raise InputError(f"{path}: not the description of a dataset; {build} --force")
        if meta.get("version") != VERSION:
            raise InputError(
                f"{path}: format version {meta.get('version')}, this program reads {VERSION}; {build} --force"
            )
        return meta

    def __repr__(self) -> str:
        packs = ", ".join(self.packs) or "none"
        return f"Dataset({str(self.root)!r}: {self.count} images, {len(self.classes)} classes, packs: {packs})"

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """int32 [count], memory-mapped."""
        path = self.root / "index/labels.npy"
        return _in_range(path, _load_array(path, np.dtype("<i4"), self.count), 0, len(self.classes))

    @cached_property
    def sizes(self) -> NDArray[np.int32]:
        """int32 [count, 2]: height and width in pixels of the original images, memory-mapped."""
        path = self.root / "index/sizes.npy"
        return _in_range(path, _load_array(path, np.dtype("<i4"), self.count, (2,)), 1, MAX_SIDE + 1)

    @cached_property
    def plain(self) -> NDArray[np.bool_]:
        """bool [count]: JPEGs for `decode_plain`, memory-mapped."""
        return _load_array(self.root / "index/plain.npy", np.dtype(bool), self.count)

    @cached_property
    def _paths(self) -> Callable[[int], str]:
        path = self.root / "index/paths.bin"
        offsets = _load_array(self.root / "index/paths.npy", np.dtype("<i8"), self.count + 1)
        try:
            blob = np.memmap(path, dtype=np.uint8, mode="r").view(np.ndarray)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({_line(error)}); {AGAIN}") from error
        if len(blob) != offsets[-1]:
            raise InputError(f"{path}: wrong length; {AGAIN}")
        _in_range(self.root / "index/paths.npy", offsets, 0, len(blob) + 1)
        return lambda i: blob[offsets[i] : offsets[i + 1]].tobytes().decode()

    def path(self, image: int) -> str:
        """The path of an image, relative to the dataset folder.

        Raises:
            InputError: if the index holds none, or one that leads out of the folder.
        """
        try:
            path = self._paths(image)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.root}/index/paths.bin: the path of image {image} is not UTF-8; {AGAIN}") from error
        if not path or path[0] == "/" or "\0" in path or (".." in path and ".." in path.split("/")):
            raise InputError(f"{self.root}/index/paths.bin: image {image} lies at {path!r}, out of the folder; {AGAIN}")
        return path

    def ids(self, split: str, part: str, classes: int | None = None) -> NDArray[np.int64]:
        """The image ids of one part of a split, in file list order.

        Args:
            split: a key of `splits`.
            part: `train` or `val`.
            classes: keep only the first so many classes (all if None).

        Returns:
            int64 [n]; memory-mapped when nothing was left out.

        Raises:
            InputError: if there is no such split, or too few classes.
        """
        if split not in self.splits:
            raise InputError(f"--split {split}: {self.root} has the splits {', '.join(self.splits)}")
        if part not in PARTS:
            raise InputError(f"part {part!r}: choose train or val")
        path = self.root / f"index/{split}-{part}.npy"
        ids = _in_range(path, _load_array(path, np.dtype("<i8"), self.splits[split][part]), 0, self.count)
        if classes is None:
            return ids
        if not 1 <= classes <= len(self.classes):
            raise InputError(f"--classes {classes}: {self.root} has {len(self.classes)} classes")
        return ids[self.labels[ids] < classes]

    def pack(self, kind: str) -> Pack:
        """Opens a pack.

        Raises:
            InputError: if the dataset was built without it.
        """
        if kind not in self.packs:
            raise InputError(
                f"{self.root} has no {kind} pack; build it with: "
                f"python convert/build.py --out {self.root} --packs {','.join([*self.packs, kind])} --force"
            )
        return Pack(self.root / "packs" / kind, self.count, self._pack_sizes[kind])
