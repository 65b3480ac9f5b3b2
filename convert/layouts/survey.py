"""A survey of a tree, before anything is read into its names: images, other files, what is hidden, where it begins."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from feedline.convert.layouts.parts import spelled
from feedline.convert.layouts.taken import divide, is_image
from feedline.convert.trees import Tree
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
    """

    tree: Tree
    source: str
    top: str
    images: dict[str, str]
    outside: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)

    @property
    def all_images(self) -> list[str]:
        """The names of all images in the tree."""
        return [*self.images.values(), *self.outside]

    @cached_property
    def folders(self) -> list[str]:
        """The folders below `top` that are not hidden, without it."""
        visible = visible_names(self.tree.contents.folders, folders=True)[0]
        return [name[len(self.top) :] for name in visible if name.startswith(self.top) and name != self.top]


def survey(tree: Tree, source: str) -> Survey:
    """Divides the files of a tree.

    Args:
        tree: gives names, sizes and the first bytes of files of unknown suffixes.
        source: what errors call the tree.
    """
    visible, hidden = visible_names(tree.contents.files)
    images, others = divide(tree, visible)
    top = _top(images)
    inside = {name[len(top) :]: name for name in images if name.startswith(top)}
    outside = [name for name in images if not name.startswith(top)] if len(inside) < len(images) else []
    return Survey(tree, source, top, inside, outside, others, hidden)


def divide_left_out(entries: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Divides (name, reason) of what a tree leaves out into images and the rest."""
    reasons = dict(entries)
    images = {name for name in visible_names(reasons)[0] if is_image(name)}
    both: tuple[list[tuple[str, str]], list[tuple[str, str]]] = [], []
    for name, reason in reasons.items():
        both[name not in images].append((name, reason))
    return both


def _top(names: list[str]) -> str:
    """The folders around all images.

    The folder of a part (`train/`) and that of a single class are none of them. Beside a folder that holds parts,
    single images do not count.
    """
    folders = {f"{folder}/" if folder else "" for folder in {name.rpartition("/")[0] for name in names}}
    top = ""
    while folders:
        inner = [folder[len(top) :].split("/") for folder in folders if folder.startswith(top)]
        heads = {pieces[0] for pieces in inner if pieces[0]}
        if len(heads) != 1:
            break
        head = heads.pop()
        below = {pieces[1] for pieces in inner if len(pieces) > 2}
        holds_parts = "train" in {spelled(folder) for folder in below}
        has_strays = any(not pieces[0] for pieces in inner)
        if not below or ((spelled(head) or has_strays) and not holds_parts):
            break
        top = f"{top}{head}/"
    return top
