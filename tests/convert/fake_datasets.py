"""Datasets as people have them, for the tests of `from_dataset`."""

import copy
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from tests.convert.helpers import jpeg


def pixels(index: int, size: tuple[int, int] = (20, 30), seed: int = 0) -> NDArray[np.uint8]:
    """Noise: uint8 RGB [height, width, 3]."""
    return np.random.default_rng([seed, index]).integers(0, 256, (*size, 3), dtype=np.uint8)


def parity(index: int) -> int:
    """A target, 0 or 1."""
    return index % 2


def letter(index: int) -> str:
    """A target, a or b."""
    return "ba"[index % 2]


@dataclass
class Pairs:
    """A map-style dataset as people write one: item i is (make(i), target(i))."""

    make: Callable[[int], Any] = pixels
    target: Callable[[int], Any] = parity
    count: int = 20

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.count:
            raise IndexError(index)
        return self.make(index), self.target(index)


class Named(Pairs):
    """The same with class names, as torchvision's datasets have them."""

    classes = ("zebra", "ant / fly")


class Image:
    """The image feature of Hugging Face's `datasets`: decodes to a PIL image, or gives bytes and path as they are.

    The library finds it by its name and its fields, so the test's class has the same ones.
    """

    def __init__(self, mode: str | None = None, decode: bool = True) -> None:
        self.mode, self.decode = mode, decode

    def decode_example(self, value: dict[str, Any]) -> PilImage.Image:
        image = PilImage.open(io.BytesIO(value["bytes"]))
        image.load()
        return image if self.mode is None else image.convert(self.mode)


class ClassLabel:
    """The class label of Hugging Face's `datasets`."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.num_classes = names, len(names)


class HuggingFace:
    """The part of `datasets.Dataset` that counts: rows are dicts, `features` describes the columns."""

    def __init__(self, features: dict[str, Any], rows: list[dict[str, Any]]) -> None:
        self.features, self.rows = features, rows
        self.format: dict[str, Any] = {"type": None, "format_kwargs": {}, "columns": list(features)}
        self.transform: Callable[[dict[str, Any]], dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = dict(self.rows[index])
        for name, feature in self.features.items():
            if getattr(feature, "decode", False):
                row[name] = feature.decode_example(row[name])
        return self.transform(row) if self.transform is not None else row

    def cast_column(self, column: str, feature: Any) -> "HuggingFace":
        other = copy.copy(self)
        other.features = {**self.features, column: feature}
        return other

    def set_transform(self, transform: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.transform, self.format = transform, {**self.format, "type": "custom"}


def hugging_face(count: int = 20, column: str = "label", mode: str | None = None) -> HuggingFace:
    """A dataset of JPEGs with the classes `cat` and `dog`, and a column that is neither image nor label."""
    rows = [{"image": {"bytes": jpeg(i), "path": None}, column: i % 2, "note": f"row {i}"} for i in range(count)]
    features = {"image": Image(mode), column: ClassLabel(["cat", "dog"]), "note": None}
    return HuggingFace(features, rows)


class Stream:
    """An iterable dataset: neither length nor index."""

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter([(pixels(0), 0)])
