"""Opens the parts of what the user gave as `dataset`, and reads a sample of each."""

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedline.convert.indexed.rows import Reader, Row, find_columns
from feedline.convert.space import folder_bytes, probe
from feedline.pipeline.dataset import PARTS, PartName
from feedline.pipeline.errors import InputError
from feedline.program import command_line

SAMPLED = 16  # items of a part


@dataclass(frozen=True)
class Part:
    """A part and a sample of its rows, evenly spread."""

    reader: Reader
    count: int
    sample: list[Row]


def open_parts(dataset: Any, image: Any, label: Any) -> dict[PartName, Part]:
    """Opens a dataset, or a dict of parts.

    Args:
        dataset: see `from_dataset`.
        image, label: columns that the user named, or None.

    Returns:
        {part: opened}, train first.

    Raises:
        InputError: if a part has no length or index, is empty, gives something else than images with targets, or gives
            other images each time.
    """
    if isinstance(dataset, (str, Path)):
        raise InputError(f"`dataset={dataset}`: is a path; convert a folder or a zip with {command_line('convert')}")
    if not isinstance(dataset, Mapping):
        return {"train": _open("dataset", dataset, image, label)}
    if "train" not in dataset or not set(dataset) <= set(PARTS):
        raise InputError(
            f"`dataset`: has the parts {', '.join(map(str, dataset)) or 'none'}; choose what to train and to evaluate "
            'on, and give {"train": ..., "val": ...}, and {"test": ...} if there is one'
        )
    return {part: _open(part, dataset[part], image, label) for part in PARTS if part in dataset}


def digest(parts: Mapping[PartName, Part]) -> str:
    """A digest of all samples: other images or targets give another one."""
    total = hashlib.blake2b(digest_size=8)
    for part in parts.values():
        for row in part.sample:
            shape = b"" if isinstance(row.content, bytes) else repr(row.content.shape).encode()
            data = row.content if isinstance(row.content, bytes) else row.content.tobytes()
            total.update(b"%r %b %d " % (row.target, shape, len(data)) + data)
    return total.hexdigest()


def bytes_needed(parts: Mapping[PartName, Part], packs: tuple[str, ...], max_size: int | None) -> int:
    """Bytes that the dataset folder will take, estimated from the samples."""
    total = 0
    for part in parts.values():
        sizes = [size for row in part.sample if not row.error and (size := probe(row.file, max_size))]
        needed = folder_bytes([nbytes for nbytes, _ in sizes], sum(pixels for _, pixels in sizes), packs)
        total += needed * part.count // max(len(sizes), 1)
    return total


def _open(name: str, dataset: Any, image: Any, label: Any) -> Part:
    count = _count(name, dataset)
    indices = sorted({i * (count - 1) // (SAMPLED - 1) for i in range(SAMPLED)})
    columns = find_columns(dataset, _first_item(dataset, indices), image, label)
    if columns is not None:
        dataset = undecoded(dataset, columns[0])
    reader = Reader(dataset, name, columns)
    sample = [reader.read(index) for index in indices]
    for index, row in zip(indices, sample, strict=True):
        if reader.read(index) != row:
            raise InputError(
                f"{reader.where(index)}: differs each time it is read, and a dataset folder would keep one of them; "
                "leave random transforms out of the dataset, the loader augments"
            )
    if all(row.error for row in sample):
        raise InputError(f"{name}: none of {len(sample)} items tried can be read; {name}[0]: {sample[0].error}")
    return Part(reader, count, sample)


def _count(name: str, dataset: Any) -> int:
    data = sys.modules.get("torch.utils.data")  # whoever has an IterableDataset has imported it
    try:
        count = len(dataset)
        indexed = hasattr(dataset, "__getitem__") and not (data and isinstance(dataset, data.IterableDataset))
    except (TypeError, NotImplementedError, AttributeError):
        indexed, count = False, 0
    if not indexed:
        raise InputError(
            f"`{name}`: a {type(dataset).__name__} has no length or no item by index; give a map-style dataset (with "
            "Hugging Face: load it without streaming)"
        )
    if count < 1:
        raise InputError(f"`{name}`: the {type(dataset).__name__} is empty")
    return count


def _first_item(dataset: Any, indices: list[int]) -> Any:
    """The first item that can be read; None if there is none."""
    for index in indices:
        try:
            return dataset[index]
        except Exception:  # is reported when all items are read
            continue
    return None


def undecoded(dataset: Any, column: Any) -> Any:
    """A Hugging Face dataset that gives image files as they are, which is faster and loses nothing.

    Any other dataset is returned as it is, as is one with a transform or format of the user.
    """
    features = getattr(dataset, "features", None)
    feature: Any = features.get(column) if isinstance(features, Mapping) else None
    if type(feature).__name__ != "Image" or not getattr(feature, "decode", False) or getattr(feature, "mode", None):
        return dataset
    if not hasattr(dataset, "cast_column") or dataset.format["type"] is not None:
        return dataset
    return dataset.cast_column(column, type(feature)(decode=False))
