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


class Histogram:
    """The histogram of many images.

    Small images are counted together: a call for each 64x64 image takes 45 us, more than decoding it.
    """

    BYTES = 1 << 20  # of pixels that are counted together

    def __init__(self) -> None:
        self._total = np.zeros(VALUES, dtype=np.int64)
        self._waiting: list[NDArray[np.uint8]] = []
        self._nbytes = 0

    def add(self, pixels: NDArray[np.uint8]) -> None:
        """Adds an image: uint8 RGB [height, width, 3], which must not change until the end."""
        if pixels.nbytes >= self.BYTES:
            self._total += histogram(pixels)
            return
        self._waiting.append(pixels.reshape(1, -1, 3))
        self._nbytes += pixels.nbytes
        if self._nbytes >= self.BYTES:
            self._count()

    def total(self) -> NDArray[np.int64]:
        """That of all images so far: int64 [VALUES]."""
        self._count()
        return self._total

    def _count(self) -> None:
        if self._waiting:
            self._total += histogram(np.concatenate(self._waiting, axis=1))
        self._waiting, self._nbytes = [], 0


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
