"""Names of classes: their order, and the folders that hold them."""

import unicodedata
from collections.abc import Iterable, Sequence

from feedline.convert.layouts.label_text import is_whole, plain
from feedline.pipeline.dataset import ClassInfo

MAX_FOLDER = 100  # bytes of a class folder's name
_UNSAFE = set('/\\:*?"<>|')


def in_order(labels: Iterable[str]) -> tuple[list[str], dict[str, int]]:
    """Class names in label order, and {label as given: number}. Whole numbers sort as numbers, other labels as text."""
    given = sorted(labels)
    if all(map(is_whole, given)):
        names = {label: plain(label) for label in given}
        ordered = sorted(set(names.values()), key=int)
    else:
        names = dict(zip(given, given, strict=True))
        ordered = given
    number = {name: label for label, name in enumerate(ordered)}
    return ordered, {label: number[name] for label, name in names.items()}


def class_infos(names: Sequence[str]) -> list[ClassInfo]:
    """Classes with a safe folder name each. The names sort in label order, so that an ImageFolder has the same labels.

    Where the class names do not sort so, or are not unique, the label comes first: `3_trouser`.
    """
    folders = [_safe(name) for name in names]
    width = len(str(len(names) - 1))
    numbers = [f"{label:0{width}d}" for label in range(len(names))]
    if [name.lstrip("0") or "0" for name in names] == [str(label) for label in range(len(names))]:
        folders = numbers
    elif folders != sorted(folders) or len({folder.casefold() for folder in folders}) < len(folders):
        folders = [f"{number}_{folder}" for number, folder in zip(numbers, folders, strict=True)]
    words = ["".join(c if c.isprintable() else " " for c in name) for name in names]
    return [ClassInfo(label, folder, word) for label, (folder, word) in enumerate(zip(folders, words, strict=True))]


def _safe(name: str) -> str:
    """A class name as the name of a folder, on every file system."""
    letters = (c if c.isprintable() and c not in _UNSAFE else "_" for c in unicodedata.normalize("NFC", name))
    short = "".join(letters).encode()[:MAX_FOLDER].decode(errors="ignore").strip(" .")
    return short or "_"
