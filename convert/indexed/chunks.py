"""Reads a dataset in chunks, here or in worker processes, and turns each into image files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from feedline.convert import images, pool
from feedline.convert.indexed.rows import Reader, Row
from feedline.convert.layouts import Item
from feedline.convert.records import Target
from feedline.convert.stored import as_file
from feedline.convert.trees import Damaged
from feedline.pipeline.dataset import PartName
from feedline.pipeline.dataset.decode import DecodeError
from feedline.pipeline.errors import first_line

MAX_ROWS = 256
MAX_ROWS_OF_WORKER = 64  # a worker does not know the size of its rows before it has read them
MAX_BYTES = 32 << 20
# Files lie in one folder per target, beside train/ and val/, until all targets are read and the classes are known.
BY_TARGET = "by-target"


@dataclass(frozen=True)
class Setup:
    """What all chunks share: the dataset folder, and `packs`, `max_size` and `near_pixels` as in `images.Job`."""

    target: Path
    packs: tuple[str, ...]
    max_size: int | None
    near_pixels: int | None


@dataclass(frozen=True)
class Chunk:
    """Consecutive items of a part.

    Attributes:
        part: `train`, `val` or `test`.
        name: what errors call the dataset.
        start, stop: the range of indices.
        rows: the items; None if the worker is to read them.
    """

    setup: Setup
    part: PartName
    name: str
    start: int
    stop: int
    rows: Sequence[Row] | None = None


@dataclass(frozen=True)
class ConvertedChunk:
    """The result of a chunk.

    Attributes:
        items: of the chunk; labels are not set yet.
        targets: one per item; None for an item that could not be read.
        result: what is known of the images.
    """

    items: list[Item]
    targets: list[Target | None]
    result: images.JobResult


@dataclass
class MemoryTree:
    """Files in memory.

    Args:
        files: {name: bytes, or what is wrong with the file}.
    """

    files: dict[str, bytes | Damaged]

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        data = self.files[name]
        if isinstance(data, Damaged):
            raise data
        return data


def read_chunks(readers: Mapping[PartName, Reader], setup: Setup) -> Iterator[Chunk]:
    """Reads all parts here, chunk by chunk, a chunk no larger than `MAX_BYTES` by more than one image."""
    for part, reader in readers.items():
        start, size = 0, 0
        rows: list[Row] = []
        for index in range(len(reader.dataset)):
            rows.append(reader.read(index))
            size += _nbytes(rows[-1])
            if len(rows) == MAX_ROWS or size > MAX_BYTES:
                yield Chunk(setup, part, reader.name, start, index + 1, rows)
                start, size, rows = index + 1, 0, []
        if rows:
            yield Chunk(setup, part, reader.name, start, start + len(rows), rows)


def unread_chunks(readers: Mapping[PartName, Reader], setup: Setup) -> Iterator[Chunk]:
    """Divides all parts into chunks that the workers read."""
    for part, reader in readers.items():
        count = len(reader.dataset)
        for start in range(0, count, MAX_ROWS_OF_WORKER):
            yield Chunk(setup, part, reader.name, start, min(start + MAX_ROWS_OF_WORKER, count))


def convert_chunk(chunk: Chunk) -> ConvertedChunk:
    """Reads the items if need be, decodes all images and writes their files.

    Raises:
        InputError: if an item is not an image and a target.
        OSError: if a file cannot be written.
    """
    rows = chunk.rows
    if rows is None:
        readers: Mapping[PartName, Reader] = pool.shared()
        rows = [readers[chunk.part].read(index) for index in range(chunk.start, chunk.stop)]
    items: list[Item] = []
    files: dict[str, bytes | Damaged] = {}
    for index, row in enumerate(rows, chunk.start):
        item, data = _make_item(chunk, index, row)
        items.append(item)
        files[item.name] = data
    for folder in {(chunk.setup.target / item.path).parent for item in items}:
        folder.mkdir(parents=True, exist_ok=True)
    setup = chunk.setup
    result = images.convert_images(
        images.Job(MemoryTree(files), items, setup.target, setup.packs, setup.max_size, near_pixels=setup.near_pixels)
    )
    return ConvertedChunk(items, [None if row.error else row.target for row in rows], result)


def _make_item(chunk: Chunk, index: int, row: Row) -> tuple[Item, bytes | Damaged]:
    data: bytes | Damaged
    data, suffix, made = Damaged(row.error), "", False
    if not row.error:
        try:
            data, suffix, made = as_file(row.content)
        except DecodeError as error:
            data = Damaged(first_line(error))
    path = f"{BY_TARGET}/{chunk.part}/{_key(row.target)}/{index:09d}{suffix}"
    size = len(data) if isinstance(data, bytes) else 0
    return Item(f"{chunk.name}[{index}]", path, chunk.part, -1, size, made), data


def _key(target: Target) -> str:
    """The name of a target's folder until the class is known."""
    if isinstance(target, int):
        return str(target)
    return hashlib.blake2b(target.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _nbytes(row: Row) -> int:
    return len(row.content) if isinstance(row.content, bytes) else row.content.nbytes
