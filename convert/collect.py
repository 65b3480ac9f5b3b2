"""Collects what workers return for the images of a source, and writes the packs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.convert.images import ImageResult, JobResult
from feedline.convert.layouts import Item
from feedline.convert.mean_std import VALUES
from feedline.convert.options import Options
from feedline.pipeline.dataset import PackWriter, PartName, Record
from feedline.pipeline.errors import InputError
from feedline.progress import Progress


@dataclass
class Converted:
    """What is known of the images after reading them: one entry per image and list, in id order.

    Attributes:
        names: of the images in the source.
        groups: names of the groups that stay on one side of a split, empty for images in none; None without groups.
        hashes: perceptual ones, see `ImageResult`.
        columns: {column of the source's table: a text for each image}.
        ignored: (name, reason) of files that are no images.
        warnings: of the decoder, empty for most images.
    """

    records: list[Record] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    groups: list[str] | None = None
    digests: list[bytes] = field(default_factory=list)
    hashes: list[bytes | None] = field(default_factory=list)
    gray: list[bool] = field(default_factory=list)
    parts: list[PartName] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    ignored: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(VALUES, dtype=np.int64))
    packs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, item: Item, image: ImageResult) -> None:
        """Appends an image."""
        path = image.stored or item.path
        self.records.append(Record(path, item.label, image.height, image.width, image.plain, image.checksum))
        self.names.append(item.name)
        self.digests.append(image.digest)
        self.hashes.append(image.perceptual)
        self.gray.append(image.gray)
        self.parts.append(item.part)
        self.warnings.append(image.warning)
        for name, text in item.columns.items():
            self.columns.setdefault(name, []).append(text)


def collect(
    options: Options,
    results: Iterable[tuple[Sequence[Item], JobResult]],
    target: Path,
    left_out: Iterable[tuple[str, str]] = (),
) -> Converted:
    """Takes the results of all jobs, and writes the packs.

    Args:
        options: packs and `strict`.
        results: items and what is known of them, in id order. Their files are written.
        target: the dataset folder.
        left_out: (name, reason) of images that are known to be unusable.

    Raises:
        InputError: if an image does not decode and `strict` is set.
    """
    converted = Converted(left_out=list(left_out))
    writers = {kind: PackWriter(target / "packs" / kind) for kind in options.packs}
    for items, result in results:
        converted.histogram += result.histogram
        for item, image in zip(items, result.images, strict=True):
            if image.error:
                _leave_out(item.name, image.error, converted.left_out, options.strict)
                continue
            converted.add(item, image)
            for kind, writer in writers.items():
                writer.add(image.encoded if kind == "jpeg" else image.pixels, image.height, image.width)
    for kind, writer in writers.items():
        converted.packs[kind] = writer.close()
    return converted


def progress_bar(count: int, *, show: bool = True) -> Progress:
    """The progress of `count` images."""
    return Progress(count, 0, "converting", unit="images", quiet=not show)


def _leave_out(name: str, error: str, left_out: list[tuple[str, str]], strict: bool) -> None:
    if strict:
        raise InputError(f"{name}: does not decode ({error}); remove it, or convert without `strict` to leave it out")
    left_out.append((name, f"does not decode: {error}"))
