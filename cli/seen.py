"""A batch of a run's train part as the network gets it, each image with its original."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch

from feedline.pipeline.dataset import Dataset, PartName
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.plan.edits import NOTHING
from feedline.report.peek import Seen
from feedline.training.config import Config
from feedline.use.names import class_name

IMAGES = 16


def pixel_loader(config: Config, dataset: Dataset, part: PartName = "train") -> Loader:
    """The loader of a part of a run, for pixels that are not normalised. Those of val come one by one."""
    options = dataclasses.replace(
        config.loader, part=part, device="cpu", engine="torch", seed=config.run.seed, dtype=torch.uint8, store="auto"
    )
    if part == "val":
        options = dataclasses.replace(options, batch_size=1)
    return Loader(dataset, **vars(options))


def seen(loader: Loader, epoch: int, position: int, images: int) -> Iterator[Seen]:
    """The first images of a batch.

    Args:
        loader: gives uint8.
        epoch: counted from 0.
        position: of the batch in the epoch, from 0.
        images: how many at most.

    Raises:
        InputError: if an image can no longer be read.
    """
    loader.set_epoch(epoch, first=position)
    pixels, labels = next(iter(loader))
    batch = loader.planned
    assert batch is not None
    loader.close()
    rows = pixels.permute(0, 2, 3, 1).numpy()
    for i in range(min(images, len(batch))):
        path = loader.folder.path(int(batch.ids[i]))
        y, x, height, width = batch.window[i].tolist()
        yield Seen(
            original=_original(loader.folder, path),
            window=(y, x, height, width),
            result=np.ascontiguousarray(rows[i]),
            name=class_name(loader.folder.classes[int(labels[i])]),
            done=_done(batch, i),
            path=path,
        )


def seen_of_val(loader: Loader, images: int) -> Iterator[tuple[int, Seen]]:
    """Images of val with their ids. Its lists are often in the order of the classes: the images are spread over all.

    Args:
        loader: gives uint8, one by one.
        images: how many at most.

    Raises:
        InputError: if an image can no longer be read.
    """
    for position in dict.fromkeys(np.linspace(0, len(loader) - 1, images).round().astype(int).tolist()):
        yield int(loader.dataset.ids[position]), next(seen(loader, 0, position, 1))


def _original(dataset: Dataset, path: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    try:
        return decode((dataset.root / path).read_bytes()).pixels
    except (OSError, DecodeError) as error:
        raise InputError(f"{dataset.root / path}: {error}") from error


def _done(batch: PlanBatch, row: int) -> str:
    """What was done to the window of an image, by name."""
    names = ["flip"] if batch.flip[row] else []
    for edit in batch.edits:
        names += [name for name, array in edit.parts.items() if (array[row] != NOTHING[name]).any()]
    return ", ".join(names)
