"""Parquet files with a column of images, as Hugging Face writes them: a struct of the bytes and a path."""

import contextlib
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from feedline.convert.layouts import Listing, is_image
from feedline.convert.records import Record, number, part_of
from feedline.convert.records.parquet_columns import check_columns, choose, features, is_image_struct
from feedline.convert.records.targets import as_target, of_one_kind, why_no_target
from feedline.convert.stored import as_file
from feedline.convert.trees import BrokenFile, Damaged, Stamp, check_unchanged, stamp_of
from feedline.pipeline.dataset.decode import DecodeError
from feedline.pipeline.errors import InputError, first_line

MAGIC = b"PAR1"
MAX_GROUP = 1 << 30  # bytes of the images in a row group; each worker holds one


@dataclass(frozen=True)
class ParquetTree:
    """Images in Parquet files of a folder: `data/train-0.parquet[12]` is the image of row 12.

    Args:
        folder: holds the files.
        column: of the images.
        stamps: {file: stamp}, as the files were listed.
    """

    folder: Path
    column: str
    stamps: Mapping[str, Stamp]

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        file, _, row = name.removesuffix("]").rpartition("[")
        try:
            value = self._value(file, int(row))
        except (OSError, ValueError) as error:
            if isinstance(error, InputError) or getattr(error, "errno", None) is not None:
                raise
            raise Damaged(f"damaged in the Parquet file ({first_line(error)})") from error
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            where = value.get("path") if isinstance(value, dict) else None
            raise Damaged(f"there is only the path {where}" if where else "the row has no image")
        return bytes(data)

    def _value(self, file: str, row: int) -> Any:
        path, stamp = self.folder / file, self.stamps[file]
        check_unchanged(path, stamp)
        starts = _starts(path, stamp, os.getpid())
        group = bisect_right(starts, row) - 1
        return _read_group(path, stamp, group, self.column, os.getpid())[row - starts[group]].as_py()


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read(
    name: str,
    folder: Path,
    files: list[str],
    source: str,
    columns: tuple[str | None, str | None] = (None, None),
) -> Listing:
    """Lists the images.

    The part is what a file's name says, else its folder's: `train-00000-of-00002.parquet`, `test/0000.parquet`; else
    train.

    Args:
        name: of the dataset.
        folder: holds the files.
        files: their names, relative to it.
        source: what errors call it.
        columns: of the image and the label; None to find one.

    Raises:
        InputError: if pyarrow is missing, or a file is damaged or has no such columns.
    """
    parquet = _pyarrow(source)
    stamps = {file: stamp_of(folder / file) for file in files}
    with _reading(folder / files[0]):
        schema = parquet.ParquetFile(folder / files[0]).schema_arrow
    declared = features(schema)
    image, label = choose(schema, declared, columns, files[0], source)
    records: list[Record] = []
    left_out: list[tuple[str, str]] = []
    for file in files:
        with _reading(folder / file):
            opened = parquet.ParquetFile(folder / file)
            check_columns(opened.schema_arrow, folder / file, image, label)
            for record, value in _records(opened, folder, file, image, label):
                if (target := as_target(value)) is None:
                    left_out.append((record.name, why_no_target(value)))
                else:
                    records.append(replace(record, target=target))
    names = declared.get(label, {}).get("names")
    if names is None:
        records = of_one_kind(records, f"`source={source}`: the column {label!r}")
    classes, items, unknown = number(records, names)
    left_out = sorted([*left_out, *unknown])
    if not items:
        reason = f"{left_out[0][0]}: {left_out[0][1]}" if left_out else "there are no rows"
        raise InputError(
            f"`source={source}`: no row has a label in the column {label!r}: {reason}; name another column with "
            f"`label_column` (it has {', '.join(map(repr, schema.names))})"
        )
    return Listing(name, ParquetTree(folder, image, stamps), classes, items, left_out)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Names the file in what goes wrong."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise BrokenFile(f"{path}: cannot be read as Parquet ({first_line(error)}); download it again") from error


def _pyarrow(source: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"`source={source}`: Parquet is read with the package pyarrow; install it with: "
            'pip install "feedline[parquet]"'
        ) from error
    return parquet


def _records(opened: Any, folder: Path, file: str, image: str, label: str) -> Iterator[tuple[Record, Any]]:
    """Yields each row, without a target, and its label as it is."""
    has_path = is_image_struct(opened.schema_arrow.field(image).type) and any(
        column.path == f"{image}.path" for column in map(opened.schema.column, range(len(opened.schema)))
    )
    part, row, usual = part_of(file), 0, _first_suffix(opened, image)
    for group in range(opened.num_row_groups):
        columns = opened.read_row_group(group, columns=[label, *([f"{image}.path"] if has_path else [])])
        targets = columns.column(label).to_pylist()
        paths = (
            [(p or {}).get("path") for p in columns.column(image).to_pylist()] if has_path else [None] * len(targets)
        )
        size = _bytes_of(opened.metadata.row_group(group), image)
        if size > MAX_GROUP:
            raise InputError(
                f"{folder / file}: has {size / 2**30:,.1f} GiB of images in one row group, which each worker would "
                "have to hold; write it again with row_group_size=1000"
            )
        for target, path in zip(targets, paths, strict=True):
            suffix = PurePosixPath(path).suffix.lower() if path and is_image(path) else usual
            yield Record(f"{file}[{row}]", part, -1, suffix, size // max(len(targets), 1), estimated=True), target
            row += 1


def _first_suffix(opened: Any, image: str) -> str:
    """The suffix of a file's first image, for rows without a path."""
    for batch in opened.iter_batches(batch_size=1, columns=[image]):
        value = batch.column(0)[0].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        with contextlib.suppress(DecodeError):
            return as_file(data)[1] if data else ".jpg"
        break
    return ".jpg"


def _bytes_of(group: Any, image: str) -> int:
    columns = [group.column(i) for i in range(group.num_columns)]
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] == image)


@lru_cache(maxsize=64)
def _starts(path: Path, stamp: Stamp, process: int) -> list[int]:
    """The first row of each row group."""
    metadata = _open(path, stamp, process).metadata
    starts = [0]
    for group in range(metadata.num_row_groups - 1):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


@lru_cache(maxsize=1)
def _read_group(path: Path, stamp: Stamp, group: int, column: str, process: int) -> Any:
    return _open(path, stamp, process).read_row_group(group, columns=[column]).column(column)


@lru_cache(maxsize=4)
def _open(path: Path, stamp: Stamp, process: int) -> Any:
    del stamp, process  # part of the cache key only
    return _pyarrow(str(path)).ParquetFile(path)
