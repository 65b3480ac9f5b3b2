"""Finds the layout of a tree and lists its images."""

import re
from dataclasses import replace

from feedline.convert.layouts import LABEL_FILE, Labels, Listing, Wanted, classes_file
from feedline.convert.layouts.decide import read_labels
from feedline.convert.layouts.long_names import TOO_DEEP, fit, is_deep, notes_on_shorter
from feedline.convert.layouts.survey import HIDDEN, Survey, divide_left_out, survey
from feedline.convert.layouts.taken import remedies
from feedline.convert.trees import Tree
from feedline.pipeline.dataset import PARTS
from feedline.pipeline.errors import InputError

GUESS = Wanted()

_UNLISTABLE = re.compile("[\x00-\x1f\ud800-\udfff]")  # control characters, and what stands for bytes that are not UTF-8


def read_layout(name: str, tree: Tree, source: str, wanted: Wanted) -> Listing:
    """Lists the images of a tree, whichever layout it has.

    Args:
        name: of the dataset.
        tree: the names.
        source: what errors call the tree.
        wanted: how labels are to be found.

    Raises:
        InputError: if the layout is unknown, or a name cannot be used.
    """
    keep = classes_file.read_lines(wanted.classes_file) if wanted.classes_file else []
    found = survey(tree, source, frozenset(line.name for line in keep))
    labels = read_labels(found, wanted)
    if wanted.classes_file:
        labels = classes_file.apply(wanted.classes_file, labels)
    classes = [replace(info, folder=fit(info.folder)) for info in labels.classes]
    deep = {item.name for item in labels.items if is_deep(item.path)}
    shorter = {
        item.name: path for item in labels.items if (path := fit(item.path)) != item.path and item.name not in deep
    }
    items = [
        replace(item, path=shorter[item.name]) if item.name in shorter else item
        for item in labels.items
        if item.name not in deep
    ]
    items.sort(key=lambda item: (PARTS.index(item.part), item.path))
    _check_paths([item.path for item in items])
    images, others = divide_left_out(tree.contents.left_out)
    left_out = sorted([*labels.left_out, *images, *((name, TOO_DEEP) for name in deep)])
    ignored = sorted([*_ignored(found, labels), *((name.removeprefix(found.top), reason) for name, reason in others)])
    notes = [*tree.contents.notes, *labels.notes, *notes_on_shorter(shorter), *remedies(found.others)]
    return Listing(name, tree, classes, items, left_out, ignored, notes)


def _ignored(found: Survey, labels: Labels) -> list[tuple[str, str]]:
    """(name, reason) of every file that is not taken, beside images that are left out.

    Names are without the folders around everything: a folder and its archive give the same.
    """
    others = [(name, LABEL_FILE if name in labels.read else reason) for name, reason in found.others.items()]
    ignored = [*labels.ignored, *others, *((name, HIDDEN) for name in found.hidden)]
    return sorted((name.removeprefix(found.top), reason) for name, reason in ignored)


def _check_paths(paths: list[str]) -> None:
    for path in paths:
        if _UNLISTABLE.search(path):
            raise InputError(
                f"{path!r}: file lists cannot contain control characters or names that are not UTF-8; rename it in "
                "the source"
            )
    if len(set(paths)) < len(paths):
        raise InputError("two images of the source would get the same path in the dataset; rename one of them")
