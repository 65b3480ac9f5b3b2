"""Finds byte-identical images by their digests."""

from collections.abc import Hashable, Sequence


def group_identical(digests: Sequence[Hashable]) -> list[list[int]]:
    """Groups images by digest: lists of ascending image ids, in the order of their first images.

    An image that equals no other is a group of one.
    """
    groups: dict[Hashable, list[int]] = {}
    for image, digest in enumerate(digests):
        groups.setdefault(digest, []).append(image)
    return list(groups.values())
