"""Sampling with replacement, computed, not stored."""

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.philox import STREAM_SAMPLE, philox


class WeightedOrder:
    """Which image each slot of an epoch holds, drawn with replacement: `WeightedOrder(...)(slots)`.

    Args:
        cumulative: float64 [n], sums of the weights of the images up to each; the last is above 0.
        seed: 64 bits.
        epoch: 32 bits; each epoch has other images.
    """

    def __init__(self, cumulative: NDArray[np.float64], *, seed: int, epoch: int) -> None:
        self._cumulative, self._seed, self._epoch = cumulative, seed, epoch
        self._last = int(np.searchsorted(cumulative, cumulative[-1]))  # of the images with a weight

    def __call__(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the positions of the images at these slots, int64 [k]. Slots are int64 [k]."""
        high, low, _, _ = philox(slots, seed=self._seed, epoch=self._epoch, stream=STREAM_SAMPLE)
        share = high.astype(np.float64) * 2.0**-32 + low.astype(np.float64) * 2.0**-64
        positions = np.searchsorted(self._cumulative, share * self._cumulative[-1], side="right")
        return np.minimum(positions, self._last)
