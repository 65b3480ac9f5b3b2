"""The layout of the official Tiny ImageNet download.

::

    wnids.txt                   a class folder a line
    words.txt                   `folder<tab>words` a line
    train/<class>/images/x.JPEG
    val/images/y.JPEG
    val/val_annotations.txt     `file<tab>class<tab>...` a line
"""

from feedline.convert.layouts import Item, Labels, Names, is_image
from feedline.convert.trees import Tree
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.errors import InputError

CLASSES, WORDS, ANNOTATIONS = "wnids.txt", "words.txt", "val/val_annotations.txt"


def matches(files: Names) -> bool:
    """Whether a tree with these files has this layout."""
    return CLASSES in files and any(name.startswith("train/") for name in files)


def read(tree: Tree, files: Names) -> Labels:
    """Reads the layout.

    Args:
        tree: gives the sizes and the text files.
        files: all files.

    Raises:
        InputError: if a class has no train image, or a line of the annotations names no class.
    """
    classes = _classes(tree, files)
    labels = {info.folder: info.id for info in classes}
    train, stray = _train(tree, files, labels)
    seen = {item.label for item in train}
    if missing := [folder for folder, label in labels.items() if label not in seen]:
        raise InputError(f"{CLASSES} lists {missing[0]}, but train/{missing[0]}/images/ has no image")
    val, unmatched = _val(tree, files, labels)
    return Labels(classes, train + val, stray + unmatched)


def _lines(tree: Tree, files: Names, name: str) -> list[str]:
    """The lines of a text file; none if there is no such file."""
    return tree.read(files[name]).decode("utf-8", "replace").splitlines() if name in files else []


def _classes(tree: Tree, files: Names) -> list[ClassInfo]:
    words = dict(line.split("\t", 1) for line in _lines(tree, files, WORDS) if "\t" in line)
    folders = sorted({line.strip() for line in _lines(tree, files, CLASSES) if line.strip()})
    return [ClassInfo(label, folder, words.get(folder, folder)) for label, folder in enumerate(folders)]


def _train(tree: Tree, files: Names, labels: dict[str, int]) -> tuple[list[Item], list[tuple[str, str]]]:
    items, left_out = [], []
    for short, name in files.items():
        pieces = short.split("/")
        if pieces[0] != "train" or not is_image(short):
            continue
        if len(pieces) == 4 and pieces[2] == "images" and pieces[1] in labels:
            path = f"train/{pieces[1]}/{pieces[3]}"
            items.append(Item(name, path, "train", labels[pieces[1]], tree.contents.files[name]))
        else:
            left_out.append((name, f"not in train/<class>/images/ of a class in {CLASSES}"))
    return items, left_out


def _val(tree: Tree, files: Names, labels: dict[str, int]) -> tuple[list[Item], list[tuple[str, str]]]:
    items, left_out = [], []
    annotated = _annotations(tree, files, labels)
    for short, name in files.items():
        if not short.startswith("val/images/") or not is_image(short):
            continue
        file = short.removeprefix("val/images/")
        if file in annotated:
            folder = annotated.pop(file)
            items.append(Item(name, f"val/{folder}/{file}", "val", labels[folder], tree.contents.files[name]))
        else:
            left_out.append((name, "not in val_annotations.txt"))
    left_out += [(f"val/images/{file}", "in val_annotations.txt, but there is no such file") for file in annotated]
    return items, left_out


def _annotations(tree: Tree, files: Names, labels: dict[str, int]) -> dict[str, str]:
    """{val file: class folder}"""
    annotated: dict[str, str] = {}
    for line in _lines(tree, files, ANNOTATIONS):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in labels:
            raise InputError(f"{ANNOTATIONS}: the line {line!r} names no class of train")
        annotated[fields[0]] = fields[1]
    return annotated
