"""A file that gives the classes: their order, and what they are called."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from feedline.convert.given import read_given
from feedline.convert.layouts import Labels
from feedline.convert.layouts.class_names import class_infos
from feedline.convert.layouts.classes import named
from feedline.output import counted
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.errors import InputError, first_line


@dataclass(frozen=True)
class Line:
    """A class of the file: its name in the source, and words for it; empty if the file gives none."""

    name: str
    words: str


def read_lines(path: Path, known: Sequence[ClassInfo] = ()) -> list[Line]:
    """Reads a file of classes: a name a line, or name, tab and words.

    Args:
        path: the file. Empty lines do not count.
        known: the classes of the source: `n01440764 tench` is read as name and words if the first word is one of them.

    Raises:
        InputError: if the file cannot be read, holds fewer than two classes, or one twice.
    """
    data = read_given("classes_file", path, "give text with one class a line")
    try:
        text = data.decode("utf-8-sig")
    except ValueError as error:
        raise InputError(f"`classes_file={path}`: cannot be read ({first_line(error)}); give text in UTF-8") from error
    names = {name for info in known for name in (info.folder, info.words)}
    lines = []
    for line in (line.strip() for line in re.split("\r\n?|\n", text)):
        if line:
            first, _, rest = line.partition("\t")
            token, _, after = line.partition(" ")
            if not rest and line not in names and token in names:
                first, rest = token, after
            lines.append(Line(first.strip(), rest.strip()))
    if twice := [name for name, count in Counter(line.name for line in lines).items() if count > 1]:
        raise InputError(f"`classes_file={path}`: names the class {twice[0]!r} twice; remove one line")
    if len(lines) < 2:
        raise InputError(
            f"`classes_file={path}`: names {counted(len(lines), 'class')}; write one class a line, at least two"
        )
    return lines


def apply(path: Path, labels: Labels) -> Labels:
    """Gives classes the order and words of a file. Classes of the file without images are kept.

    Where the source's classes are 0, 1, 2, ... and the file's are not numbers, line k names class k.

    Raises:
        InputError: if the file cannot be used, or lacks a class of the source.
    """
    lines = read_lines(path, labels.classes)
    if _are_names_of_numbers(lines, labels.classes):
        lines = [Line(str(number), line.name) for number, line in enumerate(lines)]
    position = {line.name: label for label, line in enumerate(lines)}
    number = {info.id: position.get(info.folder, position.get(info.words, -1)) for info in labels.classes}
    images = Counter(item.label for item in labels.items)
    if unknown := [info for info in labels.classes if number[info.id] < 0 and images[info.id]]:
        raise InputError(
            f"`classes_file={path}`: lacks the class {unknown[0].words!r} "
            f"({counted(images[unknown[0].id], 'image')}); add it"
        )
    classes = _infos(lines, {number[info.id]: info for info in labels.classes})
    items = []
    for item in labels.items:
        part, _, rest = item.path.split("/", 2)
        info = classes[number[item.label]]
        items.append(replace(item, label=info.id, path=f"{part}/{info.folder}/{rest}"))
    notes = [note for note in labels.notes if not note.startswith(("classes without any", "class folders sort"))]
    if empty := {info.id for info in classes} - {item.label for item in items}:
        notes.append(f"classes without any image: {named(classes, empty)}")
    return replace(
        labels, classes=classes, items=items, notes=[*notes, f"classes: {len(classes):,}, in the order of {path.name}"]
    )


def _are_names_of_numbers(lines: list[Line], classes: Sequence[ClassInfo]) -> bool:
    numbers = [info.words for info in classes]
    return (
        all(number.isdecimal() and len(number) < 10 and int(number) < len(lines) for number in numbers)
        and not any(line.name.isdecimal() for line in lines)
        and not any(line.words for line in lines)
    )


def _infos(lines: list[Line], known: dict[int, ClassInfo]) -> list[ClassInfo]:
    """Classes in the order of the file, with the folders of the source if these sort in that order."""
    infos = class_infos([line.name for line in lines])
    folders = [known[label].folder if label in known else info.folder for label, info in enumerate(infos)]
    if folders == sorted(folders) and len({folder.lower() for folder in folders}) == len(folders):
        infos = [replace(info, folder=folder) for info, folder in zip(infos, folders, strict=True)]
    words = [line.words or (known[label].words if label in known else line.name) for label, line in enumerate(lines)]
    return [replace(info, words=text) for info, text in zip(infos, words, strict=True)]
