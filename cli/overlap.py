"""How many images of an evaluation its model was trained on."""

import dataclasses

import numpy as np

from feedline.console import aloud
from feedline.output import counted
from feedline.pipeline.loader import Loader
from feedline.pipeline.part import choose_ids, choose_split
from feedline.training.snapshot import Snapshot


def trained_on(loader: Loader, snapshot: Snapshot) -> int:
    """The number of a loader's images that a checkpoint's run trained on; the dataset must be the run's.

    Args:
        loader: of the images to evaluate.
        snapshot: says with which split, classes and share of the images it was trained.
    """
    options = snapshot.config.loader
    split = choose_split(loader.folder, options.split)
    train = choose_ids(loader.folder, dataclasses.replace(options, split=split, part="train"))
    return int(np.isin(loader.plan.ids, train).sum())


def warn_of_overlap(count: int, loader: Loader, snapshot: Snapshot) -> None:
    """Prints how many images were trained on, and how to evaluate on others."""
    split = choose_split(loader.folder, snapshot.config.loader.split)
    advice = f"; --split {split} evaluates on others" if split != loader.split else ""
    warning = (
        f"warning: {count:,} of the {counted(loader.images, 'image')} evaluated "
        f"{'was' if count == 1 else 'were'} trained on (train of split {split}): "
        f"this accuracy is not that on new images{advice}"
    )
    with aloud():
        print(warning, flush=True)
