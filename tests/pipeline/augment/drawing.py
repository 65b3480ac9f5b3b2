"""Random draws for the tests of augmentations."""

import numpy as np

from feedline.pipeline.plan.draw import Draw


def draw(count: int, height: int, width: int, seed: int = 0, epoch: int = 0) -> Draw:
    """Images of one size."""
    return Draw(np.arange(count, dtype=np.int64), np.tile(np.array([height, width]), (count, 1)), seed, epoch)
