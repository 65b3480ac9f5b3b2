"""Layouts: what the names in a tree mean, part and class of every image. Every layout works on every tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedline.convert.layouts.taken import is_image as is_image
from feedline.convert.trees import Readable
from feedline.pipeline.dataset import ClassInfo, PartName

LABEL_FILE = "a label file"  # why a file is not taken as an image that was read all the same


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        name: its name in the tree.
        path: its path in the dataset folder, `<part>/<class>/<file>`.
        part: `train`, `val` or `test`, as the source has it.
        label: index into the listing's classes.
        size: bytes, as the tree lists it.
        made: the file was made from pixels, so its bytes depend on the version of Pillow; its pixels identify it.
        columns: {column: text} of the other columns of the source's table; every item has the same ones.
        estimated: `size` is a guess, so the bytes that are read may be more or fewer.
    """

    name: str
    path: str
    part: PartName
    label: int
    size: int
    made: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)
    estimated: bool = False


@dataclass(frozen=True)
class Wanted:
    """How the user says that labels are to be found.

    Attributes:
        labels: a table of names and labels, in the source or elsewhere; `folders` for the class folders; None to guess.
        image_column, label_column: columns of tables; None to guess.
        classes_file: gives the classes and their order; None for those of the source, sorted.
    """

    labels: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    classes_file: Path | None = None


@dataclass(frozen=True)
class Labels:
    """What a layout reads out of the names.

    Attributes:
        classes: in label order.
        items: the images, in any order.
        left_out: (name, reason) of every image that has no part or class.
        ignored: (name, reason) of images beside the layout's own folders.
        read: names of files that labels were read from.
        notes: lines for the user: how the names were read, where they can be read in several ways.
    """

    classes: list[ClassInfo]
    items: list[Item]
    left_out: list[tuple[str, str]]
    ignored: list[tuple[str, str]] = field(default_factory=list)
    read: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """What a source contains.

    Attributes:
        name: of the dataset.
        tree: gives the bytes.
        classes: in label order (sorted by folder).
        items: sorted by path, train before val before test.
        left_out: (name, reason) of every file that looks like an image and is not used.
        ignored: (name, reason) of every other file that is not taken.
        notes: lines for the user: how the source was read, where it can be read in several ways.
        read: names of files that names of classes were read from, beside the files that hold the images; those of
            shards are relative to the folder around these.
        origin: where the source came from, with a checksum if there is one; `Opening` sets it.
    """

    name: str
    tree: Readable
    classes: list[ClassInfo]
    items: list[Item]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read: frozenset[str] = frozenset()
    origin: dict[str, Any] = field(default_factory=dict)
