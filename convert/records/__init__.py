"""Sources whose labels come with their images, one file each: webdataset, Parquet, CIFAR, MNIST.

Images keep the order of the source, train before val before test, and are named by their position in their part:
`train/cat/000000123.jpg`.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from feedline.convert.layouts import Item
from feedline.convert.layouts.class_names import class_infos
from feedline.convert.layouts.parts import SPELLINGS
from feedline.pipeline.dataset import PARTS, ClassInfo, PartName

Target = int | str


@dataclass(frozen=True)
class Record:
    """An image and its label, as the source has them.

    Attributes:
        name: in the tree.
        part: `train`, `val` or `test`.
        target: a number, or the name of a class.
        suffix: of the image file, `.jpg`.
        size: its bytes.
        estimated: `size` is a guess.
        made: as in `Item`.
        columns: as in `Item`.
    """

    name: str
    part: PartName
    target: Target
    suffix: str
    size: int
    estimated: bool = False
    made: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)


def part_of(name: str) -> PartName:
    """The part that a file's name says, else its folder's, else train: `imagenet-val-000.tar`, `test/0000.parquet`."""
    for piece in reversed(name.split("/")):
        for word in re.split(r"[^a-z]+", piece.lower()):
            if word in SPELLINGS:
                return SPELLINGS[word]
    return "train"


def number(
    records: Iterable[Record], names: Sequence[str] | None = None
) -> tuple[list[ClassInfo], list[Item], list[tuple[str, str]]]:
    """Turns targets into labels.

    Args:
        records: in the order of the source.
        names: of the classes in label order; None if the source has none: then the targets in their order.

    Returns:
        The classes, the items, and (name, reason) of every image whose target is no class.
    """
    records = list(records)
    labels = _labels([record.target for record in records], names)
    infos = class_infos(names if names is not None else [str(target) for target in labels])
    items: dict[PartName, list[Item]] = defaultdict(list)
    left_out = []
    for record in records:
        if (label := labels.get(record.target)) is None:
            left_out.append((record.name, f"the label {record.target!r} is no class"))
            continue
        same_part = items[record.part]
        path = f"{record.part}/{infos[label].folder}/{len(same_part):09d}{record.suffix}"
        same_part.append(
            Item(
                record.name,
                path,
                record.part,
                label,
                record.size,
                made=record.made,
                columns=record.columns,
                estimated=record.estimated,
            )
        )
    return infos, [item for part in PARTS for item in items[part]], left_out


def _labels(targets: Iterable[Target], names: Sequence[str] | None) -> dict[Target, int]:
    """{target: label}. Numbers come before texts; -1 is how people say that there is no label."""
    if names is not None:
        return {**{name: label for label, name in enumerate(names)}, **{label: label for label in range(len(names))}}
    distinct = {target for target in targets if isinstance(target, str) or target >= 0}
    ordered = sorted(distinct, key=lambda target: (isinstance(target, str), target))
    return {target: label for label, target in enumerate(ordered)}
