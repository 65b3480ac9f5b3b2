"""Layouts: what the names in a tree mean, part and class of every image. Every layout works on every tree."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from feedline.convert.trees import Tree
from feedline.pipeline.dataset import ClassInfo, PartName

# What torchvision's ImageFolder accepts as an image.
SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
MACOS_FOLDER = "__MACOSX"  # what macOS adds to a zip

# {name without the folder that contains everything: name in the tree}
Names = Mapping[str, str]


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
    """

    name: str
    path: str
    part: PartName
    label: int
    size: int
    made: bool = False
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Labels:
    """What a layout reads out of the names.

    Attributes:
        classes: in label order.
        items: the images, in any order.
        left_out: (name, reason) of every image that has no part or class.
        ignored: (name, reason) of every other file that is not taken.
    """

    classes: list[ClassInfo]
    items: list[Item]
    left_out: list[tuple[str, str]]
    ignored: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """What a source contains.

    Attributes:
        name: of the dataset.
        tree: gives the bytes.
        origin: where the source came from, with a checksum if there is one.
        classes: in label order (sorted by folder).
        items: sorted by path, train before val before test.
        left_out: (name, reason) of every file that looks like an image and is not used.
        ignored: (name, reason) of every other file that is not taken.
    """

    name: str
    tree: Tree
    origin: dict[str, Any]
    classes: list[ClassInfo]
    items: list[Item]
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)


def is_image(name: str) -> bool:
    """Whether a file is an image, by its name."""
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
