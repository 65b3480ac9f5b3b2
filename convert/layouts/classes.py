"""The classes of a source: the union of its parts' classes, one spelling each, and what lacks images."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from feedline.convert.layouts import Item
from feedline.output import listed
from feedline.pipeline.dataset import PARTS, ClassInfo
from feedline.pipeline.errors import InputError


def one_spelling(names: Iterable[str], known: Iterable[str], source: str) -> dict[str, str]:
    """{class of one part: its spelling}: that of an earlier part where they differ in case or in accents only.

    Raises:
        InputError: if two classes of this part differ so: they would be one folder where case does not count.
    """
    spelling = {_folded(name): name for name in known}
    seen: dict[str, str] = {}
    for name in sorted(names):
        other = seen.setdefault(_folded(name), name)
        if other != name:
            how = "case" if name.casefold() == other.casefold() else "how accents are written"
            raise InputError(
                f"`source={source}`: the classes {other!r} and {name!r} differ in {how} only; rename one, or move "
                "the images into one folder"
            )
    return {name: spelling.get(key, name) for key, name in seen.items()}


def _folded(name: str) -> str:
    return (
        name.lower() if name.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
    )


def notes_on_missing(classes: Sequence[ClassInfo], items: Iterable[Item]) -> list[str]:
    """A line for each part that lacks classes which have images elsewhere, or have none at all."""
    parts: dict[str, set[int]] = defaultdict(set)
    for item in items:
        parts[item.part].add(item.label)
    every = {info.id for info in classes}
    seen = set().union(*parts.values()) if parts else set()
    notes = []
    if "train" in parts and (missing := seen - parts["train"]):
        notes.append(f"classes without train images, which cannot be learned: {named(classes, missing)}")
    notes += [
        f"classes without {part} images: {named(classes, missing)}"
        for part in PARTS[1:]
        if part in parts and (missing := seen - parts[part])
    ]
    if empty := every - seen:
        notes.append(f"classes without any image: {named(classes, empty)}")
    return notes


def named(classes: Sequence[ClassInfo], labels: Iterable[int]) -> str:
    """Names of classes, the first few."""
    return listed([classes[label].folder for label in sorted(labels)])
