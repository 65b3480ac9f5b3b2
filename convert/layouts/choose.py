"""Finds the layout of a tree and lists its images."""

from collections.abc import Iterable
from typing import Any

from feedline.convert.layouts import MACOS_FOLDER, Listing, image_folder, tiny_imagenet
from feedline.convert.trees import Tree
from feedline.pipeline.dataset import PARTS
from feedline.pipeline.errors import InputError


def read_layout(name: str, tree: Tree, origin: dict[str, Any]) -> Listing:
    """Lists the images of a tree, whichever layout it has.

    Args:
        name: of the dataset.
        tree: the names.
        origin: where the tree came from; the first value names it in errors.

    Raises:
        InputError: if the layout is unknown, or a name cannot be used.
    """
    top = _common_folder(list(tree.contents.files))
    files = {name[len(top) :]: name for name in tree.contents.files}
    folders = {name[len(top) :]: name for name in tree.contents.folders if name.startswith(top)}
    if tiny_imagenet.matches(files):
        labels = tiny_imagenet.read(tree, files)
    else:
        labels = image_folder.read(tree, files, folders, source=str(next(iter(origin.values()))))
    items = sorted(labels.items, key=lambda item: (PARTS.index(item.part), item.path))
    _check_paths([item.path for item in items])
    left_out = sorted([*labels.left_out, *tree.contents.left_out])
    return Listing(name, tree, origin, labels.classes, items, left_out, sorted(labels.ignored))


def _common_folder(names: Iterable[str]) -> str:
    """The folders around everything, e.g. `tiny-imagenet-200/`; empty if there are none."""
    names = [name for name in names if not name.startswith(f"{MACOS_FOLDER}/")]
    top = ""
    while names:
        heads = {name[len(top) :].split("/", 1)[0] for name in names}
        if len(heads) > 1 or any("/" not in name[len(top) :] for name in names):
            break
        head = heads.pop()
        if head in ("train", "val"):
            break
        deeper = f"{top}{head}/"
        if all("/" not in name[len(deeper) :] for name in names):  # the folder of a single class
            break
        top = deeper
    return top


def _check_paths(paths: list[str]) -> None:
    for path in paths:
        if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in path):
            raise InputError(
                f"{path!r}: file lists cannot contain control characters or names that are not UTF-8; rename it in "
                "the source"
            )
    if len(set(paths)) < len(paths):
        raise InputError("two images of the source would get the same path in the dataset; rename one of them")
