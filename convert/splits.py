"""The two splits: the source's (official), and a stratified one of all images."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from feedline.convert.duplicates import group_identical
from feedline.convert.groups import join, members
from feedline.convert.no_val import Named, large_units, small_classes, whole_classes
from feedline.convert.unit_split import draw_val
from feedline.pipeline.dataset import PARTS, PartName, Split

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


def check(parts: Sequence[PartName], labels: Sequence[int], val_fraction: float, named: Named | None = None) -> None:
    """Checks, before images are read, that there will be a split.

    Args:
        parts, labels: of each image.
        val_fraction: see `divided`.
        named: with the groups, if images are grouped.

    Raises:
        InputError: if there will be none.
    """
    if "val" in parts and "train" in parts:
        return
    ours = [i for i, part in enumerate(parts) if part != "test"]
    ours_labels = [labels[i] for i in ours]
    problem = small_classes(ours_labels, val_fraction)
    if problem is None and named is not None and named.groups is not None:
        named = _chosen(named, ours)
        problem = whole_classes(ours_labels, join(range(len(ours)), named.groups or ()), val_fraction, named)
    if problem is not None:
        raise problem.error()


def divided(
    parts: Sequence[PartName],
    labels: Sequence[int],
    digests: Sequence[bytes],
    named: Named,
    *,
    val_fraction: float,
    seed: int,
) -> Splits:
    """All splits: the source's, if it has val images, and the stratified one, if a class is large enough.

    Test images, where the source has some, are those of both.

    Args:
        parts: of each image.
        labels, digests, seed: see `stratified`.
        named: of each image; the stratified split keeps a group on one side.
        val_fraction: in [0, 1); 0 for the source's split alone.

    Raises:
        InputError: if there would be no split.
    """
    own, notes = official(parts), _group_notes(named.groups)
    ours = np.array([i for i, part in enumerate(parts) if part != "test"], dtype=np.int64)
    test = np.array([i for i, part in enumerate(parts) if part == "test"], dtype=np.int64)
    if val_fraction == 0 and own:
        return Splits([own], notes=notes)
    ours_labels, ours_digests, named = [labels[i] for i in ours], [digests[i] for i in ours], _chosen(named, ours)
    if named.groups is None:
        units = group_identical(ours_digests)
        drawn, misfits = stratified(ours_labels, ours_digests, val_fraction=val_fraction, seed=seed)
    else:
        units = join(ours_digests, named.groups)
        draws = [min(_draw(ours_digests[i], seed) for i in unit) for unit in units]
        drawn, misfits = _split(draw_val(units, ours_labels, draws, val_fraction), val_fraction), []
    if not len(drawn.val):
        problem = small_classes(ours_labels, val_fraction) or whole_classes(ours_labels, units, val_fraction, named)
        problem = problem or large_units(ours_labels, units, val_fraction, named)
        if own is None:
            raise problem.error()
        return Splits([own], notes=[*notes, f"no split {drawn.name}: {problem.text}"])
    split = Split(drawn.name, ours[drawn.train], ours[drawn.val], test)
    if named.groups is not None:
        notes += _share_note(split, val_fraction, units)
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
    if abs(len(split.val) - total * val_fraction) <= max(MAX_SHARE_ERROR * total, 1):
        return []
    share, largest = len(split.val) / total, max(map(len, units))
    return [
        f"{split.name} has {share:.1%} of the images in val: the largest group (with identical images) has {largest:,}"
    ]


def _group_notes(groups: Sequence[str] | None) -> list[str]:
    """A line if groups keep nothing together."""
    if groups is None or max(map(len, members(groups).values()), default=2) > 1:
        return []
    return ["each group has one image: the groups keep nothing together"]


def _chosen(named: Named, images: Sequence[int] | NDArray[np.int64]) -> Named:
    """The names of some images."""
    groups = None if named.groups is None else [named.groups[i] for i in images]
    return replace(named, names=[named.names[i] for i in images], groups=groups)


def _draw(digest: bytes, seed: int) -> float:
    """A number in [0, 1), by an image's bytes and the seed: the same on every machine and with every numpy."""
    return int.from_bytes(hashlib.blake2b(digest, digest_size=8, key=b"split %d" % seed).digest(), "big") / 2**64
