"""The certificate of a batch: 64 bits that say which images it holds, and what is done to each.

It is a sum over the images, so the certificates of the ranks' shares add up to that of the global batch.
"""

import functools
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.batch import PlanBatch
from feedline.pipeline.plan.mixing import MixBatch

VERSION = 1  # another one for certificates that cannot be compared with those before
STEPS = np.float32(2**16)  # of a float in 1: on another CPU, sin and pow may round the last bit otherwise

# Of `scramble`: bits to the right, and a factor.
ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))


def certify(
    batch: PlanBatch, slots: NDArray[np.int64], *, dataset: str, size: tuple[int, int], mix: MixBatch | None = None
) -> int:
    """The certificate of a batch, or of a share of it.

    For each image it covers its slot, id, windows, flips, edits and mixing; floats, as in warps and colors, in steps
    of 2^-16. Everything is hashed: another value, or two that changed places, give another number.

    Args:
        batch: the images, and what is done to them.
        slots: int64 [B], their places in the order of the epoch.
        dataset: its fingerprint, which covers the bytes and labels of its images.
        size: (height, width) of the batch in pixels.
        mix: how they are mixed; None in an epoch without mixing.

    Returns:
        0 to 2^64 - 1. Modulo 2^64 the sum over shares is that of the batch.
    """
    arrays: dict[str, NDArray[Any]] = {"slot": slots, "id": batch.ids, "window": batch.window, "flip": batch.flip}
    for number, edit in enumerate(batch.edits):
        arrays |= {f"edit {number} {name}": array for name, array in edit.parts.items()}
    if mix is not None:
        arrays |= {"share": mix.share, "blend": mix.blend, "box": mix.box}
    columns = [_columns(array, len(batch)) for array in arrays.values()]
    words = np.concatenate(columns, dtype=np.int64, casting="unsafe").view(np.uint64)  # [columns, B]
    words += _keys(dataset, size, tuple(arrays), len(words))
    images = scramble(words).sum(axis=0, dtype=np.uint64)
    return int(scramble(images).sum(dtype=np.uint64))


def scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Turns each word into one that looks random, in place: one to one, each bit depends on all.

    The finaliser of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014).
    """
    for shift, factor in ROUNDS:
        words ^= words >> np.uint64(shift)
        if factor != 1:
            words *= np.uint64(factor)
    return words


def _columns(array: NDArray[Any], images: int) -> NDArray[Any]:
    """The values of each image, as whole numbers: [B, ...], or [V * B, ...] of V views, to [values, B]."""
    if array.dtype == np.float32:
        array = np.rint(array * STEPS)
    rows = array.reshape(len(array), -1)
    return rows.T if len(rows) == images else np.concatenate([view.T for view in np.split(rows, len(rows) // images)])


@functools.lru_cache(maxsize=16)
def _keys(dataset: str, size: tuple[int, int], names: tuple[str, ...], columns: int) -> NDArray[np.uint64]:
    """A random number for each column, uint64 [columns, 1]: equal values in two columns give different words."""
    text = f"feedline {VERSION} {dataset} {size[0]}x{size[1]} {' '.join(names)}"
    digest = hashlib.shake_128(text.encode()).digest(8 * columns)
    return np.frombuffer(digest, dtype="<u8").astype(np.uint64)[:, None]
