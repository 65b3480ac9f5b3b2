"""A survey of a tree, before anything is read into its names: images, other files, what is hidden, where it begins."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from feedline.convert.layouts.taken import divide, is_image
from feedline.convert.layouts.top import find_top
from feedline.convert.trees import Tree
from feedline.convert.trees.folder import written
from feedline.convert.trees.names import visible_names

HIDDEN = "hidden"


@dataclass(frozen=True)
class Survey:
    """The files of a tree, divided.

    Attributes:
        tree: gives sizes and bytes.
        source: what errors call the tree.
        top: the folders around all images, e.g. `tiny-imagenet-200/`; empty if there are none.
        images: {name without `top`: name in the tree} of the images.
        outside: images that are not below `top`.
        others: {name: why it is not taken} of the other files that are not hidden.
        hidden: names of hidden files, and of all files in hidden folders.
        sets: folders below `top` that hold parts with classes each: several, or one with many images beside it.
        keep: folders that are classes, whatever else their names say.
    """

    tree: Tree
    source: str
    top: str
    images: dict[str, str]
    outside: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)
    sets: list[str] = field(default_factory=list)
    keep: frozenset[str] = frozenset()

    @property
    def all_images(self) -> list[str]:
        """The names of all images in the tree."""
        return [*self.images.values(), *self.outside]

    @cached_property
    def folders(self) -> list[str]:
        """The folders below `top` that are not hidden, without it."""
        visible = visible_names(self.tree.contents.folders, folders=True)[0]
        return [name[len(self.top) :] for name in visible if name.startswith(self.top) and name != self.top]


def survey(tree: Tree, source: str, keep: frozenset[str] = frozenset()) -> Survey:
    """Divides the files of a tree.

    Args:
        tree: gives names, sizes and the first bytes of files of unknown suffixes.
        source: what errors call the tree.
        keep: folders that are classes, whatever else their names say.
    """
    visible, hidden = visible_names(tree.contents.files)
    made = _written_here(visible)
    images, others = divide(tree, [name for name in visible if name not in made])
    others.update(made)
    top, sets = find_top(images, keep)
    inside = {name[len(top) :]: name for name in images if name.startswith(top)}
    outside = [name for name in images if not name.startswith(top)] if len(inside) < len(images) else []
    return Survey(tree, source, top, inside, outside, others, hidden, sets, keep)


def _written_here(names: Collection[str]) -> dict[str, str]:
    """The files in folders that were written here, as runs, with what they are; a tree of folders has none."""
    files: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, last = name.rpartition("/")
        files[folder].append(last)
    folders = {folder: what for folder, found in files.items() if folder and (what := written(found))}
    if not folders:
        return {}
    prefixes = tuple(f"{folder}/" for folder in folders)
    inside = [name for name in names if name.startswith(prefixes)]
    return {name: folders[next(p for p in prefixes if name.startswith(p))[:-1]] for name in inside}


def divide_left_out(entries: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Divides (name, reason) of what a tree leaves out into images and the rest."""
    reasons = dict(entries)
    images = {name for name in visible_names(reasons)[0] if is_image(name)}
    both: tuple[list[tuple[str, str]], list[tuple[str, str]]] = [], []
    for name, reason in reasons.items():
        both[name not in images].append((name, reason))
    return both
