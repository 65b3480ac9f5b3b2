"""The two splits: the source's (official), and a stratified one of all images."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from feedline.convert.duplicates import group_identical
from feedline.convert.groups import join
from feedline.convert.unit_split import draw_val
from feedline.output import counted
from feedline.pipeline.dataset import PARTS, PartName, Split
from feedline.pipeline.errors import InputError

MAX_SHARE_ERROR = 0.02  # of the images; more is said


@dataclass(frozen=True)
class Splits:
    """The splits of a dataset.

    Attributes:
        made: at least one.
        misfits: image ids of each group that must stay on one side and fits on neither of the stratified split.
        notes: a line for everything else that is not as it was asked for.
    """

    made: list[Split]
    misfits: list[list[int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def fraction_name(val_fraction: float) -> str:
    """The name of a stratified split: 0.3 gives `70-30`."""
    val = round(100 * val_fraction, 4)
    return f"{100 - val:g}-{val:g}"


def official(parts: Sequence[PartName]) -> Split | None:
    """The source's split, or None if the source has no train or no val images.

    Args:
        parts: of each image.
    """
    ids = {part: np.array([i for i, p in enumerate(parts) if p == part], dtype=np.int64) for part in PARTS}
    return Split("official", **ids) if len(ids["train"]) and len(ids["val"]) else None


def check(parts: Sequence[PartName], labels: Sequence[int], val_fraction: float) -> None:
    """Checks, before images are read, that there will be a split.

    Args:
        parts, labels: of each image.
        val_fraction: see `divided`.

    Raises:
        InputError: if there will be none.
    """
    if "val" in parts and "train" in parts:
        return
    ours = [label for part, label in zip(parts, labels, strict=True) if part != "test"]
    if not _val_quota(np.bincount(ours), val_fraction).any():
        raise InputError(f"`val_fraction={val_fraction:g}`: {_why_no_val(ours, val_fraction)}")


def divided(
    parts: Sequence[PartName],
    labels: Sequence[int],
    digests: Sequence[bytes],
    groups: Sequence[str] | None = None,
    *,
    val_fraction: float,
    seed: int,
) -> Splits:
    """All splits: the source's, if it has val images, and the stratified one, if a class is large enough.

    Test images, where the source has some, are those of both.

    Args:
        parts: of each image.
        labels, digests, seed: see `stratified`.
        groups: names of each image's group, empty if it is in none; the stratified split keeps a group on one side.
        val_fraction: in [0, 1); 0 for the source's split alone.

    Raises:
        InputError: if there would be no split.
    """
    own = official(parts)
    ours = np.array([i for i, part in enumerate(parts) if part != "test"], dtype=np.int64)
    test = np.array([i for i, part in enumerate(parts) if part == "test"], dtype=np.int64)
    if val_fraction == 0 and own:
        return Splits([own])
    ours_labels, ours_digests = [labels[i] for i in ours], [digests[i] for i in ours]
    units: list[list[int]] = []
    if groups is None:
        drawn, misfits = stratified(ours_labels, ours_digests, val_fraction=val_fraction, seed=seed)
    else:
        units = join(ours_digests, [groups[i] for i in ours])
        draws = [min(_draw(ours_digests[i], seed) for i in unit) for unit in units]
        drawn, misfits = _split(draw_val(units, ours_labels, draws, val_fraction), val_fraction), []
    if not len(drawn.val):
        why = _why_no_val(ours_labels, val_fraction, units)
        if own is None:
            raise InputError(f"`val_fraction={val_fraction:g}`: {why}")
        return Splits([own], notes=[f"no split {drawn.name}: {why}"])
    split = Split(drawn.name, ours[drawn.train], ours[drawn.val], test)
    notes = _share_note(split, val_fraction, units)
    return Splits([own, split] if own else [split], [ours[group].tolist() for group in misfits], notes)


def stratified(
    labels: Sequence[int], digests: Sequence[bytes], *, val_fraction: float, seed: int
) -> tuple[Split, list[list[int]]]:
    """Splits all images class by class, with byte-identical images on the same side.

    Each class gives round(n * val_fraction) images to val, and at least one to train. Groups of identical images are
    placed first, each on a randomly drawn side if it fits there, else on the other; one that fits on neither goes where
    fewer images are too many. Single images then fill up the classes.

    Args:
        labels: of each image.
        digests: of each image's bytes.
        val_fraction: in [0, 1).
        seed: of the random choices.

    Returns:
        The split, its ids ascending, and the groups that fit on neither side. Val is empty if no class is large
        enough, and never has all images of a class.
    """
    images = np.bincount(labels)
    val_quota = _val_quota(images, val_fraction)
    in_val = np.zeros(len(labels), dtype=bool)
    free = {True: val_quota, False: images - val_quota}  # {in val: int [classes], images that still fit}
    groups, misfits = group_identical(digests), []
    for group in (group for group in groups if len(group) > 1):
        prefer_val = _draw(digests[group[0]], seed) < val_fraction
        counts = np.bincount([labels[i] for i in group], minlength=len(images))
        side = next((side for side in (prefer_val, not prefer_val) if np.all(counts <= free[side])), None)
        if side is None:
            misfits.append(group)
            side = _nearer_side(counts, free, keeps_train=images - 1 - (val_quota - free[True]))
        free[side] = free[side] - counts
        in_val[group] = side
    singles: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for image in (group[0] for group in groups if len(group) == 1):
        singles[labels[image]].append((_draw(digests[image], seed), image))
    for label, drawn in singles.items():
        in_val[[image for _, image in sorted(drawn)[: max(free[True][label], 0)]]] = True
    return _split(in_val, val_fraction), misfits


def _split(in_val: NDArray[np.bool_], val_fraction: float) -> Split:
    return Split(fraction_name(val_fraction), np.flatnonzero(~in_val), np.flatnonzero(in_val))


def _val_quota(images: NDArray[np.int64], val_fraction: float) -> NDArray[np.int64]:
    """Images of each class for val, of all its images: int [classes] each."""
    return np.minimum(np.rint(images * val_fraction).astype(int), np.maximum(images - 1, 0))


def _nearer_side(
    counts: NDArray[np.int64], free: dict[bool, NDArray[np.int64]], *, keeps_train: NDArray[np.int64]
) -> bool:
    """Whether a group that fits on neither side goes to val: if fewer images are too many there.

    Args:
        counts: of the group, int [classes].
        free: see `stratified`.
        keeps_train: images that val can take and leave train one of the class, int [classes].
    """
    excess = {side: np.maximum(counts - free[side], 0).sum() for side in free}
    return bool(excess[True] < excess[False] and np.all((counts == 0) | (counts <= keeps_train)))


def _share_note(split: Split, val_fraction: float, units: Sequence[Sequence[int]]) -> list[str]:
    """A line if units of many images keep val from its share."""
    total = len(split.train) + len(split.val)
    if not units or abs(len(split.val) - total * val_fraction) <= max(MAX_SHARE_ERROR * total, 1):
        return []
    share, largest = len(split.val) / total, max(map(len, units))
    return [
        f"{split.name} has {share:.1%} of the images in val: the largest group, with identical images, has {largest:,}"
    ]


def _why_no_val(labels: Sequence[int], val_fraction: float, units: Sequence[Sequence[int]] = ()) -> str:
    """Why the stratified split has no val image, and what to do."""
    if val_fraction == 0:
        return "the source has no val images of its own, so nothing would be left to evaluate on; give a share above 0"
    largest = int(np.bincount(labels).max())
    if largest < 2:
        return "each class has one image, which train needs; add images, or a val folder"
    if units and val_fraction >= 0.5 / largest:
        images = max(map(len, units))
        return (
            f"its groups leave val nothing: the largest, with identical images, has {images} of "
            f"{counted(len(labels), 'image')}"
        )
    if round(largest * val_fraction):
        return "all images of each class are identical; remove the duplicates, or add a val folder"
    return (
        f"no class has an image for val; the largest has {counted(largest, 'image')}, so give at least "
        f"{0.6 / largest:.2g}"
    )


def _draw(digest: bytes, seed: int) -> float:
    """A number in [0, 1), by an image's bytes and the seed: the same on every machine and with every numpy."""
    return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=b"split %d" % seed).digest(), "big") / 2**64
