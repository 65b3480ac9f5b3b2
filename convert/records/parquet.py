"""Parquet files with a column of images, as Hugging Face writes them: a struct of the bytes and a path."""

import contextlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from feedline.convert.indexed.pixels import as_file
from feedline.convert.indexed.rows import IMAGE_COLUMNS, LABEL_COLUMNS
from feedline.convert.layouts import Listing, is_image
from feedline.convert.records import Record, number, part_of
from feedline.convert.trees import Contents, Damaged
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
    """

    folder: Path
    column: str

    @property
    def contents(self) -> Contents:
        """See `Tree.contents`; there are no files."""
        return Contents({}, [])

    def read(self, name: str) -> bytes:
        """See `Tree.read`."""
        file, _, row = name.removesuffix("]").rpartition("[")
        path = self.folder / file
        starts = _starts(path, os.getpid())
        group = bisect_right(starts, int(row)) - 1
        value = _read_group(path, group, self.column, os.getpid())[int(row) - starts[group]].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if not data:
            where = value.get("path") if isinstance(value, dict) else None
            raise Damaged(f"there is only the path {where}" if where else "the row has no image")
        return bytes(data)


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) == MAGIC


def read(
    name: str,
    folder: Path,
    files: list[str],
    origin: dict[str, Any],
    columns: tuple[str | None, str | None] = (None, None),
) -> Listing:
    """Lists the images.

    The part is what a file's name says, else its folder's: `train-00000-of-00002.parquet`, `test/0000.parquet`; else
    train.

    Args:
        name: of the dataset.
        folder: holds the files.
        files: their names, relative to it.
        origin: see `Listing`; the first value names the source in errors.
        columns: of the image and the label; None to find one.

    Raises:
        InputError: if pyarrow is missing, or a file is damaged or has no such columns.
    """
    source = str(next(iter(origin.values())))
    parquet = _pyarrow(source)
    try:
        schema = parquet.ParquetFile(folder / files[0]).schema_arrow
        features = _features(schema)
        image = columns[0] or _image_column(schema, features, source)
        label = columns[1] or _label_column(schema, features, source)
        records = [record for file in files for record in _records(parquet, folder, file, image, label)]
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"`source={source}`: cannot be read as Parquet ({first_line(error)}); download it again"
        ) from error
    names = features.get(label, {}).get("names")
    classes, items, left_out = number(records, names)
    if not items:
        raise InputError(f"`source={source}`: no row has a label in the column {label}; name another column")
    return Listing(name, ParquetTree(folder, image), origin, classes, items, left_out)


def _pyarrow(source: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"`source={source}`: Parquet is read with the package pyarrow; install it with: "
            'pip install "feedline[parquet]"'
        ) from error
    return parquet


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What Hugging Face's datasets wrote of the columns: {column: its feature}."""
    try:
        features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {str(name): feature if isinstance(feature, dict) else {} for name, feature in features.items()}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}


def _image_column(schema: Any, features: dict[str, dict[str, Any]], source: str) -> str:
    declared = [name for name, feature in features.items() if feature.get("_type") == "Image"]
    structs = [field.name for field in schema if _is_image_struct(field.type)]
    binary = [field.name for field in schema if "binary" in str(field.type)]
    return _one((declared, structs, [n for n in binary if n in IMAGE_COLUMNS], binary), "image", schema, source)


def _label_column(schema: Any, features: dict[str, dict[str, Any]], source: str) -> str:
    declared = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    usual = [name for name in schema.names if name in LABEL_COLUMNS]
    return _one((declared, usual), "label", schema, source)


def _one(choices: tuple[list[str], ...], role: str, schema: Any, source: str) -> str:
    """The only column of the first kind that there is; of several, one with a usual name."""
    found = next(filter(None, choices), [])
    usual = [name for name in (IMAGE_COLUMNS if role == "image" else LABEL_COLUMNS) if name in found]
    if not found or (len(found) > 1 and not usual):
        raise InputError(
            f"`source={source}`: has the columns {', '.join(schema.names)}; name the one with the {role} with "
            f"`{role}_column`"
        )
    return found[0] if len(found) == 1 else usual[0]


def _is_image_struct(kind: Any) -> bool:
    return str(kind).startswith("struct<") and kind.get_field_index("bytes") >= 0


def _records(parquet: Any, folder: Path, file: str, image: str, label: str) -> Iterator[Record]:
    opened = parquet.ParquetFile(folder / file)
    has_path = _is_image_struct(opened.schema_arrow.field(image).type) and any(
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
            value = target if isinstance(target, (int, str)) else -1  # a number of another kind, or nothing
            suffix = PurePosixPath(path).suffix.lower() if path and is_image(path) else usual
            yield Record(f"{file}[{row}]", part, value, suffix, size // max(len(targets), 1), estimated=True)
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
def _starts(path: Path, process: int) -> list[int]:
    """The first row of each row group."""
    metadata = _open(path, process).metadata
    starts = [0]
    for group in range(metadata.num_row_groups - 1):
        starts.append(starts[-1] + metadata.row_group(group).num_rows)
    return starts


@lru_cache(maxsize=1)
def _read_group(path: Path, group: int, column: str, process: int) -> Any:
    return _open(path, process).read_row_group(group, columns=[column]).column(column)


@lru_cache(maxsize=4)
def _open(path: Path, process: int) -> Any:
    del process  # part of the cache key only
    return _pyarrow(str(path)).ParquetFile(path)
