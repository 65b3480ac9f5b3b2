"""The layout of the official Tiny ImageNet download.

::

    wnids.txt                   a class folder a line
    words.txt                   `folder<tab>words` a line
    train/<class>/images/x.JPEG
    val/images/y.JPEG
    val/val_annotations.txt     `file<tab>class<tab>...` a line
"""

import re
from dataclasses import replace

from feedline.convert.layouts import Item, Labels
from feedline.convert.layouts.classes import notes_on_missing
from feedline.convert.layouts.survey import Survey
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.errors import InputError

CLASSES, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"
_TRAIN = re.compile("train/[^/]+/images/[^/]+")


def matches(found: Survey) -> bool:
    """Whether a tree has this layout, and nobody has moved its images to class folders."""
    if found.top + CLASSES not in found.others or not any(map(_TRAIN.fullmatch, found.images)):
        return False
    val = [name for name in found.images if name.startswith("val/")]
    return not val or any(name.startswith("val/images/") for name in val)


def with_words(found: Survey, labels: Labels) -> Labels:
    """Labels from class folders, with the words of the download if its lists lie beside them."""
    if not {found.top + CLASSES, found.top + WORDS} <= found.others.keys():
        return labels
    words = _words(found)
    classes = [replace(info, words=words.get(info.folder, info.words)) for info in labels.classes]
    return replace(labels, classes=classes, read=labels.read | {found.top + WORDS})


def read(found: Survey) -> Labels:
    """Reads the layout. A class keeps its label if it has no images.

    Args:
        found: the files.

    Raises:
        InputError: if no class has a train image, or a line of the annotations names no class.
    """
    classes = _classes(found)
    labels = {info.folder: info.id for info in classes}
    items: list[Item] = []
    left_out: list[tuple[str, str]] = []
    ignored = [(name, "beside train/ and val/") for name in found.outside]
    annotated = _annotations(found, labels)
    sizes = found.tree.contents.files
    for short, name in found.images.items():
        pieces = short.split("/")
        if pieces[0] == "train":
            if len(pieces) == 4 and pieces[2] == "images" and pieces[1] in labels:
                label, path = labels[pieces[1]], f"train/{pieces[1]}/{pieces[3]}"
                items.append(Item(name, path, "train", label, sizes[name]))
            else:
                left_out.append((name, f"not in train/<class>/images/ of a class in {CLASSES}"))
        elif short.startswith("val/images/"):
            file = short.removeprefix("val/images/")
            if folder := annotated.pop(file, None):
                items.append(Item(name, f"val/{folder}/{file}", "val", labels[folder], sizes[name]))
            else:
                left_out.append((name, "not in val_annotations.txt"))
        else:
            reason = "test images without a class" if pieces[0] == "test" else "beside train/ and val/"
            ignored.append((name, reason))
    left_out += [(f"val/images/{file}", "in val_annotations.txt, but there is no such file") for file in annotated]
    if not any(item.part == "train" for item in items):
        raise InputError(f"`source={found.source}`: no image in train/<class>/images/ of the classes in {CLASSES}")
    read_files = {found.top + file for file in (CLASSES, WORDS, ANNOTATIONS)}
    return Labels(classes, items, left_out, ignored, read_files, notes_on_missing(classes, items))


def _lines(found: Survey, name: str) -> list[str]:
    """The lines of a text file; none if there is no such file."""
    name = found.top + name
    return found.tree.read(name).decode("utf-8-sig", "replace").splitlines() if name in found.others else []


def _classes(found: Survey) -> list[ClassInfo]:
    words = _words(found)
    folders = sorted({line.strip() for line in _lines(found, CLASSES) if line.strip()})
    return [ClassInfo(label, folder, words.get(folder, folder)) for label, folder in enumerate(folders)]


def _words(found: Survey) -> dict[str, str]:
    """{class folder: words}"""
    return dict(line.split("\t", 1) for line in _lines(found, WORDS) if "\t" in line)


def _annotations(found: Survey, labels: dict[str, int]) -> dict[str, str]:
    """{val file: class folder}"""
    annotated: dict[str, str] = {}
    for line in _lines(found, ANNOTATIONS):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in labels:
            raise InputError(f"{ANNOTATIONS}: the line {line!r} names no class of {CLASSES}")
        annotated[fields[0]] = fields[1]
    return annotated
