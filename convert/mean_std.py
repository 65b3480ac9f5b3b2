"""Mean and standard deviation of the train images, from a histogram of their values.

(Not `statistics.py`: beside `build.py` that would hide Python's module of the name.)
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VALUES = 3 * 256  # counts in a histogram: those of R, then G, then B


def histogram(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Counts the values of an image.

    Args:
        pixels: uint8 RGB [height, width, 3].

    Returns:
        int64 [VALUES].
    """
    return np.array(Image.fromarray(pixels).histogram(), dtype=np.int64)


def mean_std(total: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel, in 0..1, exact up to rounding to six digits.

    Sums are whole numbers: those of floats give a constant channel a variance below 0.

    Args:
        total: int64 [VALUES], the sum of the images' histograms, of one pixel at least.
    """
    means, stds = [], []
    for counts in total.reshape(3, 256).tolist():
        pixels = sum(counts)
        first = sum(value * n for value, n in enumerate(counts))
        second = sum(value**2 * n for value, n in enumerate(counts))
        means.append(round(first / (255 * pixels), 6))
        stds.append(round(math.sqrt(pixels * second - first**2) / (255 * pixels), 6))
    return means, stds
