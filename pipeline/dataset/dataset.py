"""A dataset folder, open for reading."""

import os
import shlex
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from feedline.output import counted
from feedline.pipeline.dataset.description import MAX_SIDE, PARTS, Description
from feedline.pipeline.dataset.index import PathIndex, check_range, load_array, load_column
from feedline.pipeline.dataset.mapping import HeldFiles
from feedline.pipeline.dataset.pack import Pack
from feedline.pipeline.errors import InputError, did_you_mean

Item = TypeVar("Item")


class Dataset:
    """A dataset folder, open for reading. Only `dataset.json` is loaded whole.

    Args:
        root: the folder that `convert/build.py` wrote.

    Attributes:
        name: e.g. `tiny-imagenet`.
        fingerprint: hex digest over every image's path, label and bytes, and the splits; checkpoints carry it.
        image_size: (height, width) in pixels if all images share one size, else None.
        classes: in label order.
        mean, std: measured over the train images, per channel RGB, in 0..1; the std of a constant channel is 1 here, so
            that it can be divided by, and 0 in dataset.json.
        count: images in all.
        splits: {split: {part: images}}; all have train and val, and test where the source has one.
        columns: names of the further columns of the source's table, see `column`.
        packs: {kind: {"bytes": ..., "files": ..., "image_size": [height, width] or None}}.
        meta: everything in dataset.json.

    Raises:
        InputError: if there is no dataset or its description cannot be used.
    """

    def __init__(self, root: str | Path) -> None:
        if not isinstance(root, (str, os.PathLike)):
            raise InputError(
                f"a {type(root).__name__} is no dataset folder; name one that convert/build.py wrote, or make one of a "
                "torch dataset with feedline.convert.from_dataset"
            )
        self.root = Path(os.path.abspath(root))  # noqa: PTH100 - a program may change its folder; links stay links
        about = Description.read(Path(root))
        self.name, self.fingerprint, self.image_size = about.name, about.fingerprint, about.image_size
        self.classes, self.count = about.classes, about.count
        self.mean, self.std = about.mean, about.std
        self.splits, self.packs, self.meta = about.splits, about.packs, about.meta
        self.columns = list(map(str, about.meta.get("columns", ())))
        self._pack_sizes = about.pack_sizes
        self._held = HeldFiles()

    def __repr__(self) -> str:
        packs = ", ".join(self.packs) or "none"
        return (
            f"Dataset({str(self.root)!r}: {counted(self.count, 'image')}, "
            f"{counted(len(self.classes), 'class')}, packs: {packs})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickled dataset is opened again where it is loaded."""
        return Dataset, (self.root,)

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """int32 [count], memory-mapped."""
        path = self.root / "index/labels.npy"
        return check_range(path, load_array(path, np.dtype("<i4"), self.count, held=self._held), 0, len(self.classes))

    @cached_property
    def sizes(self) -> NDArray[np.int32]:
        """int32 [count, 2]: height and width in pixels, memory-mapped."""
        path = self.root / "index/sizes.npy"
        return check_range(path, load_array(path, np.dtype("<i4"), self.count, (2,), self._held), 1, MAX_SIDE + 1)

    @cached_property
    def plain(self) -> NDArray[np.bool_]:
        """bool [count]: JPEGs for `decode_plain`, memory-mapped."""
        return load_array(self.root / "index/plain.npy", np.dtype(bool), self.count, held=self._held)

    @cached_property
    def _paths(self) -> PathIndex:
        return PathIndex(self.root / "index", self.count, self._held)

    def path(self, image: int) -> str:
        """The path of an image, relative to the dataset folder.

        Raises:
            InputError: if there is no such image, or the index holds no path in the folder for it.
        """
        if not 0 <= image < self.count:
            raise InputError(f"image {image}: {self.root} has the ids 0 to {self.count - 1}")
        paths = self._paths
        self._held.check_lengths()
        return paths[image]

    def ids(self, split: str, part: str, classes: int | None = None) -> NDArray[np.int64]:
        """The image ids of one part of a split, in file list order.

        Args:
            split: a key of `splits`.
            part: `train`, `val` or `test`.
            classes: keep only the first N classes (all if None).

        Returns:
            int64 [n]; memory-mapped when nothing was left out.

        Raises:
            InputError: if there is no such split or part, or there are fewer classes.
        """
        if split not in self.splits:
            raise self.no_split(split)
        if part not in PARTS:
            raise InputError(f"`part={part}`: choose {', '.join(PARTS)}")
        if part not in self.splits[split]:
            raise InputError(f"`part={part}`: {self.root} has no {part} images; its source has no folder {part}/")
        path = self.root / f"index/{split}-{part}.npy"
        ids = check_range(
            path, load_array(path, np.dtype("<i8"), self.splits[split][part], held=self._held), 0, self.count
        )
        if classes is None:
            return ids
        if not 1 <= classes <= len(self.classes):
            raise InputError(f"`classes={classes}`: {self.root} has {counted(len(self.classes), 'class')}")
        return ids[self.labels[ids] < classes]

    def no_split(self, split: str) -> InputError:
        """The error that there is no split of a name, with those that there are."""
        there = f"the split{'s' * (len(self.splits) != 1)} {', '.join(self.splits)}"
        meant = did_you_mean(split, self.splits) if split.isalpha() else ""  # 80-20 is like 70-30, and not meant for it
        part = f"; {split} is a part, which each split has" if split in PARTS else meant
        return InputError(f"`split={split}`: {self.root} has {there}{part}")

    def while_held(self, items: Iterable[Item]) -> Iterator[Item]:
        """Yields items that are made with the index. Before each, the index is held to its length.

        Raises:
            InputError: if a file of the index, mapped because it is large, changed its length meanwhile.
        """
        coming = iter(items)
        while True:
            self._held.check_lengths()
            try:
                item = next(coming)
            except StopIteration:
                return
            yield item

    def column(self, name: str) -> NDArray[Any]:
        """A further column of the source's table, one value for each image id.

        Returns:
            int64, float64 or text [count]; an empty field is nan, or empty text.

        Raises:
            InputError: if there is no such column.
        """
        if name not in self.columns:
            known = f"has the columns {', '.join(self.columns)}" if self.columns else "has no columns"
            raise InputError(f"column {name!r}: {self.root} {known}; they come from a table in the source")
        return load_column(self.root / "index", self.columns.index(name), self.count)

    def pack(self, kind: str) -> Pack:
        """Opens a pack.

        Raises:
            InputError: if the dataset was built without it.
        """
        if kind not in self.packs:
            raise InputError(
                f"{self.root} has no {kind} pack; build it again from its --source, with "
                f"--out {shlex.quote(str(self.root))} --packs {','.join([*self.packs, kind])} --force"
            )
        return Pack(self.root / "packs" / kind, self.count, self._pack_sizes[kind])
