"""Groups of images that belong on one side of a split: those of a patient, a video, a scene."""

import re
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain

from feedline.convert.duplicates import group_identical
from feedline.convert.layouts.label_text import label_of
from feedline.pipeline.errors import InputError


def find_groups(group: str, names: Sequence[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
    """The group of each image.

    Args:
        group: a column of the source's table, or a regular expression: its first group, else all that it matches, is
            the group of an image.
        names: of the images in the source.
        columns: {column: a text for each image}.

    Returns:
        A text for each image, empty where the pattern matches nothing or the column has no entry: such an image is a
        group of its own.

    Raises:
        InputError: if `group` is neither a column nor a pattern, or no image has a group.
    """
    if group in columns:
        groups = [_named(text.strip()) for text in columns[group]]
        problem = "the column is empty"
    else:
        pattern = _pattern(group, columns)
        matches = map(pattern.search, names)
        groups = [(match[min(1, pattern.groups)] or "") if match else "" for match in matches]
        problem = f"{_no_column(columns)}, and as a pattern matches no path, such as {min(names, default='')!r}"
    if not any(groups):
        raise InputError(f"`group={group}`: {problem}; give a column, or a regular expression over paths in the source")
    return groups


def join(digests: Sequence[Hashable], groups: Sequence[str]) -> list[list[int]]:
    """Joins images of one group, and identical images: what is connected, however far, is one unit.

    Returns:
        Lists of ascending image ids, in the order of their first images.
    """
    parent = list(range(len(digests)))

    def root(image: int) -> int:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]
        return image

    for first, *others in chain(group_identical(digests), members(groups).values()):
        for other in others:
            a, b = sorted((root(first), root(other)))
            parent[b] = a
    units: dict[int, list[int]] = {}
    for image in range(len(parent)):
        units.setdefault(root(image), []).append(image)
    return list(units.values())


def members(groups: Sequence[str]) -> dict[str, list[int]]:
    """{group: its images}, without images that are in none."""
    found: dict[str, list[int]] = {}
    for image, name in enumerate(groups):
        if name:
            found.setdefault(name, []).append(image)
    return found


def _named(text: str) -> str:
    """A group; empty for what programs write where there is none."""
    return "" if text.lower() == "na" else label_of(text)


def _pattern(group: str, columns: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    try:
        return re.compile(group)
    except (re.error, OverflowError, RecursionError) as error:
        raise InputError(f"`group={group}`: {_no_column(columns)}, and no regular expression: {error}") from error


def _no_column(columns: Mapping[str, Sequence[str]]) -> str:
    return f"no column of the source ({', '.join(columns) if columns else 'it has none'})"
