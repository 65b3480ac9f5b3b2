"""Random words for any ids, so that a choice depends only on seed, epoch and image id."""

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled

# Each use of the generator has its own stream: the counter is (low id, high id, epoch, stream).
STREAM_ORDER, STREAM_WINDOW, STREAM_ATTEMPT, STREAM_BLOCK = 0, 1, 2, 1000
STREAM_ERASE, STREAM_COLOR, STREAM_POLICY, STREAM_MIX = 20, 21, 30, 100
STREAM_SAMPLE, STREAM_FRACTION = 200, 201
VIEW = 1 << 16  # added to the stream of a choice about an image for each view after the first

_U32 = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)


def philox(
    ids: NDArray[np.int64], *, seed: int, epoch: int, stream: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Philox-4x32-10: four random words for each id.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. numpy's Philox gives a sequence;
    this one gives the words of any ids in one call.

    Args:
        ids: int64 [n], not negative.
        seed: the key, 64 bits.
        epoch: 32 bits.
        stream: 32 bits.

    Returns:
        Four arrays uint64 [n] with values in 0..2^32-1.
    """
    if compiled.kernels is not None:
        words = np.empty((4, len(ids)), dtype=np.uint64)
        low, high = (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF)
        compiled.kernels.philox(np.ascontiguousarray(ids), words, low, high, epoch & 0xFFFFFFFF, stream & 0xFFFFFFFF)
        return words[0], words[1], words[2], words[3]
    unsigned = ids.astype(np.uint64)
    c0, c1 = unsigned & _U32, unsigned >> SHIFT
    c2, c3 = np.full_like(c0, epoch & 0xFFFFFFFF), np.full_like(c0, stream & 0xFFFFFFFF)
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> SHIFT) ^ c1 ^ np.uint64(k0),
            p1 & _U32,
            (p0 >> SHIFT) ^ c3 ^ np.uint64(k1),
            p0 & _U32,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def below(words: NDArray[np.uint64], bound: "NDArray[np.int64] | int") -> NDArray[np.int64]:
    """Turns random 32-bit words into integers in 0..bound-1 (Lemire's multiply-shift; bias below bound / 2^32)."""
    return ((words * np.asarray(bound, dtype=np.uint64)) >> SHIFT).astype(np.int64)


def unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Turns random 32-bit words into floats in [0, 1)."""
    return words.astype(np.float64) * 2.0**-32
