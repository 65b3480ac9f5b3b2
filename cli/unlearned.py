"""Classes that a run evaluates but cannot learn."""

import numpy as np

from feedline.output import counted, listed
from feedline.pipeline.loader import Loader
from feedline.use.names import class_name


def unlearned(train: Loader, val: Loader) -> str | None:
    """The warning about classes with val images and no train images; None if there are none.

    Args:
        train, val: the loaders of a run.
    """
    images = [np.bincount(part.folder.labels[part.plan.ids], minlength=part.classes) for part in (train, val)]
    labels = np.flatnonzero((images[0] == 0) & (images[1] > 0))
    if not len(labels):
        return None
    names = [class_name(train.folder.classes[label]) for label in labels]
    count = int(images[1][labels].sum())
    return (
        f"warning: {counted(len(labels), 'class')} without train images, which cannot be learned: {listed(names)}; "
        f"{count:,} of the {counted(val.images, 'val image', 'val images')} will be wrong"
    )
