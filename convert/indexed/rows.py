"""Reads a dataset row by row: an image and a target each."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from feedline.convert.indexed.pixels import describe, read_image
from feedline.convert.records import Target
from feedline.convert.stored import Content, as_file
from feedline.pipeline.errors import InputError, first_line

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label")


@dataclass(frozen=True, eq=False)
class Row:
    """One item of a dataset.

    Attributes:
        content: the image.
        target: as the dataset has it.
        error: why the item cannot be read; then nothing else is set.
    """

    content: Content = b""
    target: Target = 0
    error: str = ""

    def file(self) -> bytes:
        """The bytes of a file for the image."""
        return as_file(self.content)[0]

    def __eq__(self, other: object) -> bool:
        """Whether pixels (or bytes), target and error are equal."""
        if not isinstance(other, Row) or (self.target, self.error) != (other.target, other.error):
            return False
        if isinstance(self.content, bytes) or isinstance(other.content, bytes):
            return type(self.content) is type(other.content) and self.content == other.content
        return np.array_equal(self.content, other.content)


@dataclass(frozen=True)
class Reader:
    """Reads the rows of a dataset.

    Attributes:
        dataset: has a length and gives an item for an index.
        name: what errors call it: `train`, `val` or `dataset`.
        columns: of the image and the target in an item; None if items are pairs.
    """

    dataset: Any
    name: str
    columns: tuple[Any, Any] | None

    def where(self, index: int) -> str:
        """The name of an item, in errors and in doctor.json."""
        return f"{self.name}[{index}]"

    def read(self, index: int) -> Row:
        """Reads an item. An error that the dataset raises is in the row.

        Raises:
            InputError: if the item is not an image and a target.
        """
        where = self.where(index)
        try:
            image, target = self._split(self.dataset[index], where)
            return Row(read_image(image, where), read_target(target, where))
        except InputError:
            raise
        except Exception as error:  # a dataset raises whatever its code leads to
            return Row(error=f"reading it raised {type(error).__name__}: {first_line(error)}")

    def _split(self, item: Any, where: str) -> tuple[Any, Any]:
        if self.columns is None:
            if not isinstance(item, Sequence) or isinstance(item, (str, bytes)) or len(item) != 2:
                raise InputError(
                    f"{where}: is {_describe_item(item)}, not a pair of an image and a target; name what to take with "
                    "`image` and `label`, or return pairs"
                )
            return item[0], item[1]
        try:
            return item[self.columns[0]], item[self.columns[1]]
        except (KeyError, IndexError, TypeError) as error:
            image, label = self.columns
            raise InputError(
                f"{where}: is {_describe_item(item)}, which has no `image={image}` or no `label={label}`"
            ) from error


def find_columns(dataset: Any, first: Any, image: Any, label: Any) -> tuple[Any, Any] | None:
    """Where an item has its image and its target.

    Args:
        dataset: may list its columns, as Hugging Face's do.
        first: an item; None if none could be read.
        image, label: columns that the user named; None to find one.

    Returns:
        Both columns; None if items are pairs.

    Raises:
        InputError: if there is no column, or more than one way.
    """
    features = getattr(dataset, "features", None)
    if isinstance(first, Mapping):
        names = list(first)
    elif first is None and isinstance(features, Mapping):
        names = list(features)
    elif image is None and label is None:
        return None
    else:
        return (0 if image is None else image), (1 if label is None else label)
    return _column(names, "image", image, IMAGE_COLUMNS), _column(names, "label", label, LABEL_COLUMNS)


def _column(names: list[str], role: str, named: Any, usual: Sequence[str]) -> Any:
    listing = ", ".join(map(str, names))
    if named is not None:
        if named not in names:
            raise InputError(f"`{role}={named}`: no such column; the dataset has {listing}")
        return named
    if len(found := [name for name in usual if name in names]) == 1:
        return found[0]
    raise InputError(f"`dataset`: has the columns {listing}; name the one with the {role} with `{role}`")


def read_target(value: Any, where: str) -> Target:
    """A target as an int or a str.

    Args:
        value: an int, a str, or an array or tensor that holds one number.
        where: names the item in errors.

    Raises:
        InputError: if it is anything else.
    """
    if hasattr(value, "item") and hasattr(value, "shape"):  # of numpy or torch
        try:
            value = value.item()
        except (ValueError, RuntimeError) as error:
            raise InputError(_wrong_target(value, where)) from error
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    try:
        return operator.index(value)
    except TypeError as error:
        raise InputError(_wrong_target(value, where)) from error


def _wrong_target(value: Any, where: str) -> str:
    shown = f"{value!r}"[:40] if getattr(value, "shape", None) is None else describe(value)
    return (
        f"{where}: the target is {shown}, not a class (an int or a str); for other targets convert with any class, "
        "and give them to the loader"
    )


def _describe_item(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"a dict with {', '.join(map(str, item))}"
    if isinstance(item, (tuple, list)):
        return f"a {type(item).__name__} of {len(item)}"
    return describe(item)
