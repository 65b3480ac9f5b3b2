"""Sets whose labels come with their images, among other files: which there are, and what is not taken."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from feedline.convert.layouts import LABEL_FILE, is_image
from feedline.convert.layouts.survey import HIDDEN
from feedline.convert.layouts.taken import reason_for
from feedline.convert.layouts.top import DOCUMENTATION
from feedline.convert.records import cifar, idx
from feedline.convert.trees import Contents
from feedline.convert.trees.names import slashes, visible_names
from feedline.output import listed
from feedline.pipeline.errors import InputError


@dataclass(frozen=True)
class Found:
    """A set in a tree.

    Attributes:
        kind: what it is called: `CIFAR`, `MNIST`, `Parquet`, `shards`.
        folder: where it lies, with a slash at the end; empty at the top.
        files: names of its files.
    """

    kind: str
    folder: str
    files: frozenset[str]


def sets_in(files: Collection[str]) -> list[Found]:
    """The sets of CIFAR and MNIST among files that are not hidden."""
    return [
        Found(kind, folder, frozenset(own))
        for kind, reader in (("CIFAR", cifar), ("MNIST", idx))
        for folder, own in reader.sets(files).items()
    ]


def rivals(found: Iterable[Found], files: Iterable[str]) -> list[str]:
    """Images that could be a set themselves: not beside the files of a set, or around them, and no documentation."""
    around = {file[: end + 1] for one in found for file in one.files for end in (-1, *slashes(file))}
    images = visible_names(name for name in files if is_image(name))[0]
    return [
        name
        for name in images
        if _folder(name) not in around and DOCUMENTATION.isdisjoint(name.lower().split("/")[:-1])
    ]


def check_one(source: str, found: Collection[Found], images: Collection[str]) -> None:
    """Checks that there is one kind of set only, and no images that could be another.

    Raises:
        InputError: if there are several.
    """
    kinds = {one.kind for one in found}
    if len(kinds) < 2 and not (kinds and images):
        return
    sets = [f"{one.folder or 'the top folder '}({one.kind})".replace("/(", "/ (") for one in found]
    heads = sorted({name.partition("/")[0] + "/" for name in images if "/" in name})
    sets = list(dict.fromkeys([*sets, *(f"{head} (images)" for head in heads)]))
    raise InputError(f"`source={source}`: several sets here: {listed(sets)}; give one of them")


def not_taken(contents: Contents, taken: Collection[str], read: Collection[str] = ()) -> list[tuple[str, str]]:
    """(name, reason) of every file that is not taken.

    Args:
        contents: of the tree.
        taken: those that hold the images.
        read: those that names of classes were read from.
    """
    visible, hidden = visible_names(name for name in contents.files if name not in taken)
    others = [(name, LABEL_FILE if name in read else _reason(name)) for name in visible]
    return sorted([*others, *((name, HIDDEN) for name in hidden), *contents.left_out])


def _reason(name: str) -> str:
    return "an image beside the files that hold the images" if is_image(name) else reason_for(name)


def _folder(name: str) -> str:
    return name[: name.rfind("/") + 1]
