"""Finds byte-identical images by their digests."""

from collections.abc import Sequence


def group_identical(digests: Sequence[bytes]) -> list[list[int]]:
    """Groups images by digest: lists of ascending image ids, in the order of their first images.

    An image that equals no other is a group of one.
    """
    groups: dict[bytes, list[int]] = {}
    for image, digest in enumerate(digests):
        groups.setdefault(digest, []).append(image)
    return list(groups.values())
