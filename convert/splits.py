"""The two splits: the one that the source has, and a stratified one of everything."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from feedline.pipeline.dataset import Split
from feedline.pipeline.errors import InputError


def fraction_name(val_fraction: float) -> str:
    """0.3 is `70-30`."""
    val = round(100 * val_fraction, 4)
    return f"{100 - val:g}-{val:g}"


def official(parts: Sequence[str]) -> Split | None:
    """The source's own split, if it has one. `parts` says for each image where it was."""
    ids = {part: np.array([i for i, p in enumerate(parts) if p == part], dtype=np.int64) for part in ("train", "val")}
    return Split("official", **ids) if len(ids["val"]) else None


def stratified(labels: Sequence[int], digests: Sequence[bytes], *, val_fraction: float, seed: int) -> Split:
    """Splits all images, class by class, so that byte-identical ones stay on one side.

    Each class gives round(n * val_fraction) images to val. Groups of identical images are placed first, each on a side
    drawn at random; single images then fill every class up to its share.

    Args:
        labels: of each image.
        digests: of each image's bytes.
        val_fraction: in (0, 1).
        seed: of the choice.

    Returns:
        The split, its ids ascending.

    Raises:
        InputError: if a class is too small to have an image on both sides, or identical images leave no choice.
    """
    per_class = np.bincount(labels)
    quota = np.rint(per_class * val_fraction).astype(int)
    if small := np.flatnonzero((quota == 0) | (quota == per_class)).tolist():
        raise InputError(
            f"--val-fraction {val_fraction}: class {small[0]} has {per_class[small[0]]} images, too few for both sides"
        )
    groups: dict[bytes, list[int]] = defaultdict(list)
    for image, digest in enumerate(digests):
        groups[digest].append(image)

    def draw(digest: bytes) -> float:
        """In [0, 1), by the image's bytes and the seed: the same on every machine and with every numpy."""
        return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=b"split %d" % seed).digest(), "big") / 2**64

    in_val = np.zeros(len(labels), dtype=bool)
    room = {True: quota.copy(), False: per_class - quota}  # by side, images that each class can still take
    for digest, group in groups.items():
        if len(group) == 1:
            continue
        wanted = draw(digest) < val_fraction
        counts = np.bincount([labels[i] for i in group], minlength=len(quota))
        side = next((s for s in (wanted, not wanted) if np.all(counts <= room[s])), None)
        if side is None:
            raise InputError(
                f"--val-fraction {val_fraction}: {len(group)} byte-identical images fit on neither side; "
                "remove the duplicates from the source"
            )
        room[side] -= counts
        in_val[group] = side
    singles: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for digest, group in groups.items():
        if len(group) == 1:
            singles[labels[group[0]]].append((draw(digest), group[0]))
    for label, drawn in singles.items():
        in_val[[image for _, image in sorted(drawn)[: room[True][label]]]] = True
    return Split(fraction_name(val_fraction), np.flatnonzero(~in_val), np.flatnonzero(in_val))
