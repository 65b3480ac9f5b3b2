"""Finds images that look alike, by their perceptual hashes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from feedline.convert.perceptual import HASH_BYTES

# Tiny ImageNet (110,000 images) has one pair within 40 bits that is not identical: a true one. At 42 and above one in
# two is false. Saving again, resizing, brightness and gray move 99 of 100 images by less.
MAX_DISTANCE, MAX_LOW_DISTANCE = 40, 7  # bits: of all 256, and of the 64 lowest frequencies
_BANDS = 4  # of 16 bits of the 64: if 7 bits differ, one band has at most one of them
_MAX_ALIKE = 100  # images with one band in common that each is compared with, those with the nearest hashes
_CHUNK = 1 << 22  # pairs that are compared at once
_ONES = np.array([bin(value).count("1") for value in range(1 << 16)], dtype=np.uint8)

Pairs: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class NearGroup:
    """Images that look alike.

    Attributes:
        images: ascending ids.
        distance: the largest number of different bits among the pairs that join the group.
    """

    images: list[int]
    distance: int


def find_near(hashes: Sequence[bytes], digests: Sequence[bytes]) -> list[NearGroup]:
    """Groups of images that look alike and are not all identical, in the order of their first images.

    Two images look alike if their hashes differ in at most MAX_DISTANCE bits, and MAX_LOW_DISTANCE of the lowest
    frequencies. Groups are what such pairs connect. Memory grows with the number of images, not of pairs.

    Args:
        hashes: of each image, empty if there is none.
        digests: of each image's bytes.
    """
    hashed = [image for image, value in enumerate(hashes) if value]
    if not hashed:
        return []
    rows = np.frombuffer(b"".join(hashes[image] for image in hashed), dtype=np.uint8).reshape(-1, HASH_BYTES)
    unique, inverse = np.unique(rows, axis=0, return_inverse=True)
    leader, distance = np.arange(len(unique)), np.zeros(len(unique), dtype=np.int64)
    for left, right, bits in _pairs(unique, leader):
        _join(leader, left, right)
        np.maximum.at(distance, left, bits)
    members: dict[int, list[int]] = defaultdict(list)
    farthest: dict[int, int] = defaultdict(int)
    for image, row in zip(hashed, inverse.ravel().tolist(), strict=True):
        group = int(leader[row])
        members[group].append(image)
        farthest[group] = max(farthest[group], int(distance[row]))
    return [
        NearGroup(images, farthest[group])
        for group, images in members.items()
        if len({digests[image] for image in images}) > 1
    ]


def _join(leader: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Joins the groups of left and right, pair by pair; `leader` has the smallest row of each row's group."""
    while True:
        a, b = leader[left], leader[right]
        if np.array_equal(a, b):
            return
        np.minimum.at(leader, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(leader[leader], leader):
            leader[:] = leader[leader]


def _pairs(hashes: NDArray[np.uint8], leader: NDArray[np.int64]) -> Iterator[Pairs]:
    """Yields rows that look alike and are not in one group yet, and how many bits differ: int64 [pairs] each.

    Args:
        hashes: uint8 [n, HASH_BYTES], all different.
        leader: see `_join`; it may change in between.
    """
    words = np.ascontiguousarray(hashes).view("<u8")
    bands = np.ascontiguousarray(hashes[:, :8]).view(">u2")
    for band in range(_BANDS):
        keys = bands[:, band].astype(np.int64)
        order = np.argsort(keys, kind="stable")
        for mask in [0, *(1 << bit for bit in range(16))]:
            for left, right in _candidates(keys[order], mask):
                left, right = order[left], order[right]
                apart = leader[left] != leader[right]
                yield _alike(words, left[apart], right[apart])


def _candidates(keys: NDArray[np.int64], mask: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields the positions of all pairs with keys[left] ^ mask == keys[right], chunk by chunk, each pair once."""
    positions = np.arange(len(keys))
    start = positions + 1 if mask == 0 else np.searchsorted(keys, keys ^ mask, "left")
    stop = np.searchsorted(keys, keys ^ mask, "right")
    counts = np.clip(stop - start, 0, _MAX_ALIKE)
    if mask:
        counts[keys & mask != 0] = 0
    ends = np.cumsum(counts)
    first = 0
    while first < len(keys):
        last = max(int(np.searchsorted(ends, (ends[first - 1] if first else 0) + _CHUNK)), first + 1)
        left = np.repeat(positions[first:last], counts[first:last])
        offsets = np.arange(len(left)) - np.repeat(ends[first:last] - counts[first:last], counts[first:last])
        yield left, np.repeat(start[first:last], counts[first:last]) + offsets + (ends[first - 1] if first else 0)
        first = last


def _alike(words: NDArray[np.uint64], left: NDArray[np.int64], right: NDArray[np.int64]) -> Pairs:
    """The pairs that look alike; see `_pairs`."""
    near = _ones(words[left, :1] ^ words[right, :1]) <= MAX_LOW_DISTANCE
    left, right = left[near], right[near]
    bits = _ones(words[left] ^ words[right])
    near = bits <= MAX_DISTANCE
    return left[near], right[near], bits[near]


def _ones(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Bits that are set in each row."""
    return _ONES[np.ascontiguousarray(values).view(np.uint16)].sum(axis=1, dtype=np.int64)
