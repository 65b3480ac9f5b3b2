"""The two splits: the source's (official), and a stratified one of all images."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feedline.convert.duplicates import group_identical
from feedline.pipeline.dataset import PARTS, PartName, Split
from feedline.pipeline.errors import InputError


def fraction_name(val_fraction: float) -> str:
    """The name of a stratified split: 0.3 gives `70-30`."""
    val = round(100 * val_fraction, 4)
    return f"{100 - val:g}-{val:g}"


def official(parts: Sequence[PartName]) -> Split | None:
    """The source's split, or None if the source has no val images.

    Args:
        parts: of each image.
    """
    ids = {part: np.array([i for i, p in enumerate(parts) if p == part], dtype=np.int64) for part in PARTS}
    return Split("official", **ids) if len(ids["val"]) else None


def divided(
    parts: Sequence[PartName], labels: Sequence[int], digests: Sequence[bytes], *, val_fraction: float, seed: int
) -> list[Split]:
    """All splits: the source's, if it has val images, and the stratified one.

    Test images, where the source has some, are those of both.

    Args:
        parts: of each image.
        labels, digests, val_fraction, seed: see `stratified`.

    Raises:
        InputError: as `stratified`.
    """
    ours = np.array([i for i, part in enumerate(parts) if part != "test"], dtype=np.int64)
    test = np.array([i for i, part in enumerate(parts) if part == "test"], dtype=np.int64)
    drawn = stratified([labels[i] for i in ours], [digests[i] for i in ours], val_fraction=val_fraction, seed=seed)
    split = Split(drawn.name, ours[drawn.train], ours[drawn.val], test)
    own = official(parts)
    return [own, split] if own else [split]


def stratified(labels: Sequence[int], digests: Sequence[bytes], *, val_fraction: float, seed: int) -> Split:
    """Splits all images class by class, with byte-identical images on the same side.

    Each class gives round(n * val_fraction) images to val. Groups of identical images are placed first, each on a
    randomly drawn side. Single images then fill up the classes.

    Args:
        labels: of each image.
        digests: of each image's bytes.
        val_fraction: in (0, 1).
        seed: of the random choices.

    Returns:
        The split, its ids ascending.

    Raises:
        InputError: if a class is too small to have an image on both sides, or a group of identical images fits on
            neither side.
    """
    val_quota, train_quota = _quotas(labels, val_fraction)
    in_val = np.zeros(len(labels), dtype=bool)
    free = {True: val_quota, False: train_quota}  # {in val: int [classes], images that still fit}
    groups = group_identical(digests)
    for group in (group for group in groups if len(group) > 1):
        prefer_val = _draw(digests[group[0]], seed) < val_fraction
        counts = np.bincount([labels[i] for i in group], minlength=len(val_quota))
        side = next((side for side in (prefer_val, not prefer_val) if np.all(counts <= free[side])), None)
        if side is None:
            raise InputError(
                f"`val_fraction={val_fraction}`: {len(group)} byte-identical images fit on neither side; "
                "remove the duplicates from the source"
            )
        free[side] -= counts
        in_val[group] = side
    singles: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for image in (group[0] for group in groups if len(group) == 1):
        singles[labels[image]].append((_draw(digests[image], seed), image))
    for label, drawn in singles.items():
        in_val[[image for _, image in sorted(drawn)[: free[True][label]]]] = True
    return Split(fraction_name(val_fraction), np.flatnonzero(~in_val), np.flatnonzero(in_val))


def _quotas(labels: Sequence[int], val_fraction: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Images of each class for val and for train, int64 [classes] each. A class may have no image at all."""
    per_class = np.bincount(labels)
    val = np.rint(per_class * val_fraction).astype(int)
    if too_small := np.flatnonzero((per_class > 0) & ((val == 0) | (val == per_class))).tolist():
        label = too_small[0]
        raise InputError(
            f"`val_fraction={val_fraction}`: class {label} has {per_class[label]} images, too few for both sides"
        )
    return val, per_class - val


def _draw(digest: bytes, seed: int) -> float:
    """A number in [0, 1), by an image's bytes and the seed: the same on every machine and with every numpy."""
    return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=b"split %d" % seed).digest(), "big") / 2**64
