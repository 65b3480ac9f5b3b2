"""A stratified split of units: sets of images that must stay on one side."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_val(
    units: Sequence[Sequence[int]], labels: Sequence[int], draws: Sequence[float], val_fraction: float
) -> NDArray[np.bool_]:
    """Draws the val side, so that each class gives a share of its images as near to `val_fraction` as units allow.

    Units are placed one by one, large ones first, those of about one size in random order. Each goes where the sum of
    filled**2 / wanted over both sides and the unit's classes grows least: for units of one image this rounds
    n * val_fraction to the nearest number (Sainte-Laguë's method), and large ones leave it to small ones to make up
    for them, as in scikit-learn's StratifiedGroupKFold.

    Args:
        units: image ids of each; every image is in one.
        labels: of each image.
        draws: a random number for each unit, the order within a size.
        val_fraction: in [0, 1).

    Returns:
        bool [images]. Val never has all images of a class, so some classes may have none there.
    """
    in_val = np.zeros(len(labels), dtype=bool)
    if val_fraction == 0:
        return in_val
    images = np.bincount(labels).tolist()
    share = {True: val_fraction, False: 1 - val_fraction}
    filled = {side: [0] * len(images) for side in share}
    for unit in sorted(range(len(units)), key=lambda unit: (-len(units[unit]).bit_length(), draws[unit])):
        counts = Counter(labels[image] for image in units[unit])
        cost = {
            side: sum(n * (2 * filled[side][label] + n) / images[label] for label, n in counts.items()) / share[side]
            for side in share
        }
        leaves_train = all(filled[True][label] + n < images[label] for label, n in counts.items())
        side = leaves_train and cost[True] < cost[False]
        for label, n in counts.items():
            filled[side][label] += n
        in_val[list(units[unit])] = side
    return in_val
