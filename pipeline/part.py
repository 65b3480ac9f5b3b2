"""One part of a split: which images, and a view of it as torchvision's datasets look."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.output import counted
from feedline.pipeline.arrays import as_targets, named_columns
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.errors import InputError
from feedline.pipeline.options import LoaderOptions
from feedline.pipeline.plan.philox import STREAM_FRACTION, philox

OFFICIAL = "official"  # the split that the source has


class Part:
    """The images of one part of a split, in list order: `loader.dataset`.

    It can be indexed as torchvision's ImageFolder without transforms, and has its `classes`, `class_to_idx`, `targets`
    and `samples`.

    Args:
        folder: the dataset folder.
        ids: int64 [n], its images.
        classes: number of classes.

    Attributes:
        folder: the dataset folder.
        ids: int64 [n], image ids; `folder.path(id)` says where an image lies.
        classes: folders, in label order.
        class_to_idx: labels by folder.
        words: what each class is called, where the source says it; else its folder.
    """

    def __init__(self, folder: Dataset, ids: NDArray[np.int64], classes: int) -> None:
        self.folder, self.ids = folder, ids.view()
        self.ids.setflags(write=False)
        self.classes = [c.folder for c in folder.classes[:classes]]
        self.words = [c.words or c.folder for c in folder.classes[:classes]]
        self.class_to_idx = {name: label for label, name in enumerate(self.classes)}

    def __repr__(self) -> str:
        return (
            f"Part of {str(self.folder.root)!r}: {counted(len(self), 'image')}, {counted(len(self.classes), 'class')}"
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """Decodes an image, upright: the picture and its label. For looking at some; a loop is the loader's business.

        Raises:
            InputError: if the file can no longer be read.
        """
        image = int(self.ids[range(len(self))[index]])
        path = self.folder.root / self.folder.path(image)
        try:
            return Image.fromarray(decode(path.read_bytes()).pixels), int(self.folder.labels[image])
        except (OSError, DecodeError) as error:
            raise InputError(f"{path}: {error}; {REBUILD}") from error

    @cached_property
    def targets(self) -> list[int]:
        """The label of each image."""
        return list(map(int, self.folder.labels[self.ids]))

    @cached_property
    def samples(self) -> list[tuple[str, int]]:
        """(path, label) of each image."""
        paths = (str(self.folder.root / self.folder.path(image)) for image in self.ids.tolist())
        return list(zip(paths, self.targets, strict=True))


def choose_split(folder: Dataset, split: str) -> str:
    """The split of that name, for `auto` the source's own, or else the first that is listed.

    Raises:
        InputError: if there is no such split.
    """
    if split == "auto":
        split = OFFICIAL if OFFICIAL in folder.splits else next(iter(folder.splits), split)
    if split not in folder.splits:
        raise folder.no_split(split)
    return split


def choose_ids(folder: Dataset, options: LoaderOptions) -> NDArray[np.int64]:
    """The images that a loader's options choose, in list order; those of `subset` in its order.

    Raises:
        InputError: if there is no such split or class, or an image of `subset` is not in the part.
    """
    ids = folder.ids(options.split, options.part, options.classes)
    if options.fraction < 1:
        ids = ids[_fraction(ids, folder.labels[ids], options.fraction)]
    subset: Any = options.subset  # an array by now
    if subset is None:
        return ids
    # To evaluate on images that were held out of training is no crime; to train on val's would be.
    more = folder.ids(options.split, "train", options.classes) if options.part != "train" else ids[:0]
    strangers = subset[~(np.isin(subset, ids) | np.isin(subset, more))]
    if len(strangers):
        of = f"part {options.part} of split {options.split}"
        of += "" if options.classes is None and options.fraction == 1 else ", with its classes and fraction"
        raise InputError(f"`subset`: image {strangers[0]} is not in {of}; its image ids are `loader.dataset.ids`")
    return np.asarray(subset)


def _fraction(ids: NDArray[np.int64], labels: NDArray[np.int32], fraction: float) -> NDArray[np.bool_]:
    """A share of the images of each class, at least one: bool [n]. A smaller share is part of a larger one."""
    word = philox(np.asarray(ids), seed=0, epoch=0, stream=STREAM_FRACTION)[0]
    order = np.lexsort((word, labels))
    counts = np.bincount(labels)
    place = np.arange(len(ids)) - np.repeat(np.cumsum(counts) - counts, counts)  # in its class, by its word
    keep = np.empty(len(ids), dtype=bool)
    keep[order] = place < np.maximum(np.rint(fraction * counts), 1)[labels[order]]
    return keep


def choose_weights(folder: Dataset, ids: NDArray[np.int64], options: LoaderOptions) -> NDArray[np.float64] | None:
    """The weight of each image of a part, float64 [n]; None if each comes once.

    Raises:
        InputError: if `weights` does not fit the dataset, or no image of the part has one.
    """
    if options.weights is None:
        return None
    if isinstance(options.weights, str):
        labels = folder.labels[ids]
        return (1 / np.maximum(np.bincount(labels), 1))[labels]
    require_rows("weights", options.weights, folder)
    weights = np.asarray(options.weights)[ids]
    if not weights.sum() > 0:
        raise InputError("`weights`: no image of this part has a weight above 0")
    return weights


def choose_targets(folder: Dataset, options: LoaderOptions) -> Any:
    """What a loader gives instead of labels, one row for each image id; None for the labels.

    Raises:
        InputError: if `targets` does not fit the dataset, or names a column that it lacks or that holds text.
    """
    if options.targets is None:
        return None
    names = named_columns(options.targets)
    if not names:
        require_rows("targets", options.targets, folder)
        return options.targets
    if missing := [name for name in names if name not in folder.columns]:
        raise InputError(
            f"`targets`: must be an array, tensor or list of numbers, or columns of the dataset; {folder.root} has "
            f"{', '.join(folder.columns) or 'none'}, and no {missing[0]!r}"
        )
    columns = [folder.column(name) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind == "U":
            raise InputError(
                f"`targets`: the column {name!r} of {folder.root} holds text, as {str(column[0])!r}; turn "
                "`loader.folder.column(name)` into numbers, and give the array"
            )
    return as_targets("targets", columns[0] if isinstance(options.targets, str) else np.stack(columns, axis=1))


def require_rows(name: str, array: Any, folder: Dataset) -> None:
    """Raises InputError if an array has not one row for each image of the dataset."""
    if len(array) != folder.count:
        raise InputError(
            f"`{name}`: {counted(len(array), 'row')}, but {folder.root} has {counted(folder.count, 'image')}; "
            "row i is for image id i, whatever its part (doctor.json lists what was left out when it was built)"
        )
