"""How people spell train, val and test as names of folders."""

import functools
import re
from collections import defaultdict
from collections.abc import Collection, Mapping

from feedline.pipeline.dataset import PARTS, PartName
from feedline.pipeline.errors import InputError

# As Hugging Face's imagefolder knows them.
SPELLINGS: dict[str, PartName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
_WORDS = "|".join(sorted(SPELLINGS, key=len, reverse=True))
_SEPARATOR = r"[-._ ]*"
# train, Train, train_set, training-images, train2017, 01_train, trainset
_SPELLED = re.compile(
    rf"(?:\d+{_SEPARATOR})?({_WORDS})(?:{_SEPARATOR}(?:sets?|data|dataset|images?|imgs?|split|folder|dir|\d+(?!\d)))*",
    re.IGNORECASE,
)
# flowers-train, seg_train: a word beside others, between separators
_BESIDE = re.compile(rf"(.*[-._ ])?({_WORDS})([-._ ].*)?", re.IGNORECASE)

# set1, fold_2, flowers-split-3; and parts in spellings that are too short to be sure of
_SET = re.compile(r"(.*[-._ ])?(sub|data)?(sets?|folds?|splits?|parts?|batch)[-._ ]*\d{1,2}", re.IGNORECASE)
_SHORT = {"tr": "train", "trn": "train", "va": "val", "vl": "val", "te": "test", "ts": "test", "tst": "test"}

# {part: its folder}
Parts = dict[PartName, str]


@functools.cache
def spelled(folder: str) -> PartName | None:
    """The part that a folder's name says, in any case; None if it says none."""
    match = _SPELLED.fullmatch(folder)
    return SPELLINGS[match[1].lower()] if match else None


@functools.cache
def said(folder: str) -> PartName | None:
    """The part that a folder's name says, alone or as a word beside others; None if it says none."""
    match = _BESIDE.fullmatch(folder)
    return spelled(folder) or (SPELLINGS[match[2].lower()] if match else None)


def are_called_sets(folders: Collection[str]) -> bool:
    """Whether folders are called as sets, or as parts with a train among them, and less likely as classes."""
    parts = [spelled(folder) or _SHORT.get(folder.lower()) for folder in folders]
    return all(map(_SET.fullmatch, folders)) or ("train" in parts and all(parts))


def find_parts(groups: Mapping[str, Collection[str]], source: str) -> Parts:
    """Finds the folders of parts.

    A folder is a part if its name says so and it holds folders with images, and one of them is train. In `car/`,
    `train/`, `bus/` with images in each, `train` is a class.

    Args:
        groups: {folder: folders in it that hold images}.
        source: what errors call the tree.

    Returns:
        {part: folder}; empty if there is no train.

    Raises:
        InputError: if two folders are spelled as one part.
    """
    exact = [(folder, part) for folder, inside in groups.items() if inside and (part := spelled(folder))]
    parts = _unique(exact, source)
    if "train" in parts:
        return parts
    return {} if parts else _with_a_common_word(groups, source)


def _unique(found: list[tuple[str, PartName]], source: str) -> Parts:
    folders: dict[PartName, list[str]] = defaultdict(list)
    for folder, part in found:
        folders[part].append(folder)
    for part, names in folders.items():
        if len(names) > 1 and (part == "train" or "train" in folders):
            raise InputError(
                f"`source={source}`: both {names[0]}/ and {names[1]}/ are spelled as the part {part}; rename or move "
                "one of them"
            )
    return {part: folders[part][0] for part in PARTS if part in folders}


def _with_a_common_word(groups: Mapping[str, Collection[str]], source: str) -> Parts:
    """Parts such as `seg_train/` and `seg_test/`: one other word, the same in all."""
    by_word: dict[tuple[str, str], list[tuple[str, PartName]]] = defaultdict(list)
    for folder, inside in groups.items():
        if inside and (match := _BESIDE.fullmatch(folder)):
            word = ((match[1] or "").lower(), (match[3] or "").lower())
            by_word[word].append((folder, SPELLINGS[match[2].lower()]))
    complete = [found for found in by_word.values() if {"train"} < {part for _, part in found}]
    return _unique(complete[0], source) if len(complete) == 1 else {}
