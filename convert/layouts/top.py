"""Where a set begins in a tree: the folders around it, and other folders beside these."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from feedline.convert.layouts.parts import said, spelled

# Folders of pictures that explain a set and are no part of it.
DOCUMENTATION = {
    *("assets", "asset", "doc", "docs", "figures", "figs", "media", "static", "examples", "thumbnails", "previews"),
    *("preview", "plots", "screenshots", "logo", "logos", "res", "resources"),
}
_FEW, _SHARE = 2, 10  # so many pictures, or one in so many, are few beside a set


@dataclass
class Folder:
    """A folder with images.

    Attributes:
        images: how many lie directly in it.
        inner: {name: folder} of those in it.
    """

    images: int = 0
    inner: dict[str, "Folder"] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many images lie at any depth."""
        return sum(folder.images for folder in self.walk())

    @property
    def parts(self) -> set[str]:
        """The parts that its folders are called."""
        return {part for name in self.inner if (part := spelled(name))}

    def walk(self) -> Iterator["Folder"]:
        """This folder, and all below it; they may be nested more deeply than Python's calls."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting.extend(folder.inner.values())


def find_top(names: Iterable[str], keep: Collection[str] = ()) -> tuple[str, list[str]]:
    """Finds the folders around a set.

    The folder of a part (`train/`) and that of a single class are none of them. Beside a folder that holds a train
    and another part few images do not count, nor does documentation; beside one that holds classes, few in `docs/` or
    so do not.

    Args:
        names: of images.
        keep: folders that are classes.

    Returns:
        The folders, with a slash at the end, and the folders in them that hold a set each: several, or one beside
        which there is more than that.
    """
    folder, top = _tree(names), ""
    while head := _around(folder, keep):
        folder, top = folder.inner[head], f"{top}{head}/"
    return top, _sets(folder)


def is_documentation(head: str, keep: Collection[str]) -> bool:
    """Whether a folder is called as those of pictures that explain a set."""
    return head.lower() in DOCUMENTATION and head not in keep


def outermost(name: str, top: str) -> str:
    """The folder that a file lies in, beside the folders of `top` or in one of them; empty if it is in none."""
    around = ""
    for piece in name.split("/")[:-1]:
        around += f"{piece}/"
        if not top.startswith(around):
            return around
    return ""


def _tree(names: Iterable[str]) -> Folder:
    root = Folder()
    for path, count in Counter(name.rpartition("/")[0] for name in names).items():
        folder = root
        for piece in path.split("/") if path else ():
            folder = folder.inner.setdefault(piece, Folder())
        folder.images += count
    return root


def _around(folder: Folder, keep: Collection[str]) -> str | None:
    """The folder in this one that holds the set; None if this one does."""
    if len(folder.inner) < 2:
        return next((head for head in folder.inner if _is_around(head, folder)), None)
    sets = _sets(folder)
    heads = sets or [head for head in folder.inner if not is_documentation(head, keep)]
    if len(heads) != 1 or heads[0] in keep:
        return None
    little_beside = _is_set_beside_little if sets else _has_documentation_only_beside
    return heads[0] if little_beside(heads[0], folder, keep) else None


def _is_around(head: str, folder: Folder) -> bool:
    inner = folder.inner[head]
    return bool(inner.inner) and ("train" in inner.parts or not (spelled(head) or folder.images))


def _is_set_beside_little(head: str, folder: Folder, keep: Collection[str]) -> bool:
    """Whether few images lie beside the folder of a set, or fewer than in it and in documentation only."""
    inside = folder.inner[head].total
    beside = folder.total - inside
    documented = all(other == head or is_documentation(other, keep) for other in folder.inner)
    return _are_few(beside, inside) or (documented and beside < inside)


def _has_documentation_only_beside(head: str, folder: Folder, _: Collection[str]) -> bool:
    """Whether a folder holds a train or classes, of which the smallest has many more images than lie beside it."""
    inner = folder.inner[head]
    classes = [below.total for below in _unwrapped(inner).inner.values()]
    divided = "train" in inner.parts or (not spelled(head) and len(classes) > 1 and inner.images < sum(classes))
    return divided and _are_few(folder.total - inner.total, min(classes, default=inner.total))


def _are_few(beside: int, inside: int) -> bool:
    return beside <= _FEW or beside * _SHARE <= inside


def _sets(folder: Folder) -> list[str]:
    """Folders that hold a train with classes, and others that hold images of parts; none if parts lie beside them."""
    heads = [head for head, inner in folder.inner.items() if inner.inner]
    if "train" in map(spelled, heads) or {"train"} < {part for head in heads if (part := said(head))}:
        return []
    sets = {head for head in heads if _is_set(_unwrapped(folder.inner[head]))}
    if not sets:
        return []
    return sorted(head for head in heads if head in sets or spelled(head) or "train" in folder.inner[head].parts)


def _is_set(folder: Folder) -> bool:
    """Whether a folder holds another part, and a train with two class folders."""
    trains = [inner for name, inner in folder.inner.items() if spelled(name) == "train"]
    return len(folder.parts) > 1 and any(len(_unwrapped(train).inner) > 1 for train in trains)


def _unwrapped(folder: Folder) -> Folder:
    """A folder, or the one at the end of single folders in it."""
    while len(folder.inner) == 1 and not folder.images:
        folder = next(iter(folder.inner.values()))
    return folder
