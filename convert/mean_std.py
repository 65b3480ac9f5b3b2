"""Mean and standard deviation of the train images, from a histogram of their values.

(Not `statistics.py`: beside `build.py` that would hide Python's module of the name.)
"""

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

    Args:
        total: int64 [VALUES], the sum of the images' histograms.
    """
    counts = total.reshape(3, 256)
    values = np.arange(256) / 255
    mean = (counts * values).sum(axis=1) / counts.sum(axis=1)
    variance = (counts * values**2).sum(axis=1) / counts.sum(axis=1) - mean**2
    return [round(v, 6) for v in mean.tolist()], [round(v, 6) for v in np.sqrt(variance).tolist()]
