"""MixUp and CutMix in the plan: which pairs of a batch are mixed, and how.

Neighbours in a batch are a pair: slots 2j and 2j+1. The order of an epoch is a random permutation, so the partner is a
random image. Both images of a pair are mixed with the same share and the same box, each into the other.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.philox import STREAM_MIX, below, philox, unit


@dataclass(frozen=True, slots=True)
class MixBatch:
    """How the images of a batch are mixed, each with the other of its pair.

    Attributes:
        share: float32 [B], of its own label in each image's target; 1 where nothing is mixed.
        blend: float32 [B], of its own pixels in those outside the box; 1 where nothing is blended.
        box: int32 [B, 4], (y, x, height, width) in pixels: what comes from the other image; height and width may be 0.
    """

    share: NDArray[np.float32]
    blend: NDArray[np.float32]
    box: NDArray[np.int32]


@dataclass(frozen=True)
class Mix:
    """How pairs are mixed.

    Attributes:
        mixup: alpha of MixUp's Beta(alpha, alpha); 0 for none (Zhang et al., "mixup", ICLR 2018).
        cutmix: alpha of CutMix's; 0 for none (Yun et al., "CutMix", ICCV 2019). With both each mixed pair takes one of
            the two at random.
        prob: share of the pairs that are mixed.
    """

    mixup: float = 0.0
    cutmix: float = 0.0
    prob: float = 1.0

    def batch(self, pairs: NDArray[np.int64], size: tuple[int, int], *, seed: int, epoch: int) -> MixBatch:
        """Draws for pairs, by their numbers in the epoch.

        Args:
            pairs: int64 [P].
            size: (height, width) of the images in pixels.
            seed: 64 bits.
            epoch: 32 bits.

        Returns:
            For the 2 P images of the pairs.
        """
        words = philox(pairs, seed=seed, epoch=epoch, stream=STREAM_MIX)
        chosen = unit(words[1])
        cut = chosen < self.prob * (0.5 if self.mixup and self.cutmix else bool(self.cutmix))
        blended = ~cut & (chosen < self.prob) & bool(self.mixup)
        u = (words[0].astype(np.float64) + 0.5) * 2.0**-32
        blend = np.ones(len(pairs))
        if blended.any():
            blend[blended] = beta_quantile(self.mixup, u[blended])
        share, box = blend.copy(), np.zeros((len(pairs), 4), dtype=np.int32)
        if cut.any():
            box[cut] = _boxes(beta_quantile(self.cutmix, u[cut]), words[2][cut], words[3][cut], size)
            share[cut] = 1 - box[cut, 2] * box[cut, 3] / (size[0] * size[1])
        return MixBatch(*(np.repeat(a, 2, axis=0) for a in (share.astype(np.float32), blend.astype(np.float32), box)))


def _boxes(
    lam: NDArray[np.float64], y: NDArray[np.uint64], x: NDArray[np.uint64], size: tuple[int, int]
) -> NDArray[np.int64]:
    """CutMix's boxes, int64 [n, 4]: of area 1 - lam around a pixel anywhere, cut off at the border."""
    height, width = size
    centre = np.stack([below(y, height), below(x, width)], axis=1)
    half = (np.sqrt(1 - lam)[:, None] * size).astype(np.int64) // 2
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, size)
    return np.concatenate([low, high - low], axis=1)


TABLE = 1 << 13  # points of a quantile table


def beta_quantile(alpha: float, u: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quantiles of Beta(alpha, alpha): turns uniform numbers in (0, 1) into its random numbers.

    Interpolated in a table: within 2e-5 for alpha from 0.01 to 100. With alpha = 1 they are uniform as they come.
    """
    if alpha == 1:
        return u
    distribution, power = _beta_table(alpha)
    lower = np.interp(np.minimum(u, 1 - u), distribution, power) ** (1 / min(alpha, 1))
    return np.where(u < 0.5, lower, 1 - lower)


@functools.lru_cache(maxsize=8)
def _beta_table(alpha: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The distribution function of Beta(alpha, alpha) from 0 to 1/2, and x^min(alpha, 1) at its values.

    I_x(a, a) = x^a (1 - x)^a / (a B(a, a)) * F(2a, 1; a + 1; x), F the hypergeometric series, whose terms are positive
    and shrink by about x each (DLMF 8.17.8). The power makes it straight near 0.
    """
    exponent = min(alpha, 1.0)
    power = np.linspace(0, 0.5**exponent, TABLE + 1)
    x = power ** (1 / exponent)
    series, term, n = np.ones_like(x), np.ones_like(x), 0
    while term[-1] > 1e-17 * series[-1]:
        term *= (2 * alpha + n) / (alpha + 1 + n) * x
        series, n = series + term, n + 1
    log_beta = 2 * math.lgamma(alpha) - math.lgamma(2 * alpha)
    with np.errstate(divide="ignore"):  # at x = 0
        density = np.exp(alpha * (np.log(x) + np.log1p(-x)) - math.log(alpha) - log_beta)
    return density * series, power
