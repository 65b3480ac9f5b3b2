"""webdataset shards: tars in which files of one key belong together, `0001.jpg` and `0001.cls` or `0001.json`."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedline.convert.layouts import Listing, is_image
from feedline.convert.records import Record, Target, number, part_of
from feedline.convert.records.shards import common_folder
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Damaged, Tree
from feedline.convert.trees.compressed import compression, is_tar, unpack
from feedline.convert.trees.shards import ShardTree
from feedline.pipeline.errors import InputError

# As webdataset divides a name: the key is the path up to the first dot of the file's name.
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_META = re.compile(r"__[^/]*__($|/)")  # what webdataset skips
_LABELS = ("cls", "label", "class", "target", "cls.txt", "label.txt")  # files that hold nothing but the label
_IN_JSON = ("label", "cls", "class", "class_id", "target", "class_name", "category")
_NAME_IN_JSON = ("class_name", "label_name", "classname", "name")
_CLASS_FILES = ("classnames.txt", "classes.txt", "class_names.txt", "labels.txt")

# {key: {what follows the key: name in the tree}}
Samples = dict[str, dict[str, str]]


def matches(tree: Tree) -> bool:
    """Whether a tar is a shard: its first image has a label of its own beside it."""
    for files in _samples(list(tree.contents.files)).values():
        if _image(files) and len(files) > 1:
            return _target(tree, files) is not None
    return False


def read(name: str, paths: list[Path], origin: dict[str, Any], scratch: Scratch) -> Listing:
    """Lists the images of shards.

    The part is what the shard's name says, else the folder's: `imagenet-val-000.tar`, `test/000.tar`; else train.

    Args:
        name: of the dataset.
        paths: of the shards.
        origin: see `Listing`; the first value names the source in errors.
        scratch: gets shards that are compressed.

    Raises:
        InputError: if a file is no tar, or no image has a label.
    """
    folder = common_folder(paths)
    classes = _class_names(folder)
    tree = _open(folder, paths, scratch)
    contents = tree.contents
    left_out, records = list(contents.left_out), []
    names: dict[Target, str] = {}
    for files in _samples(list(contents.files)).values():
        if (image := _image(files)) is None:
            continue
        target = _target(tree, files, names)
        if target is None:
            left_out.append((files[image], "no label beside it (.cls, or .json with a label)"))
            continue
        part = part_of(tree.split(files[image])[0])
        records.append(Record(files[image], part, target, f".{image}", contents.files[files[image]]))
    if not records:
        raise InputError(
            f"`source={next(iter(origin.values()))}`: its tars hold no images with labels of the same key (0001.jpg "
            "and 0001.cls or 0001.json); if they hold folders of classes, unpack them into one folder, and give that"
        )
    infos, items, unknown = number(records, classes or _names(names, records))
    return Listing(name, tree, origin, infos, items, sorted([*left_out, *unknown]))


def _open(folder: Path, paths: list[Path], scratch: Scratch) -> ShardTree:
    for path in paths:
        if not is_tar(path):
            raise InputError(f"{path}: not a readable tar; download it again, or leave it out")
    shorts = [str(path.resolve().relative_to(folder)) for path in paths]
    if not any(compression(path) for path in paths) and all(short.endswith(".tar") for short in shorts):
        return ShardTree(folder, shorts)
    plain = [f"{re.split(r'[.](tar|tgz|tbz|txz)', short)[0]}.tar" for short in shorts]
    for path, target in zip(paths, plain, strict=True):
        (scratch.folder() / target).parent.mkdir(parents=True, exist_ok=True)
        unpack(path, scratch.folder() / target)
    return ShardTree(scratch.folder(), plain)


def _samples(names: list[str]) -> Samples:
    samples: Samples = defaultdict(dict)
    for name in names:
        if (match := _KEY.fullmatch(name[_start(name) :])) and not _META.search(match[1]):
            samples[name[: _start(name)] + match[1]][match[2].lower()] = name
    return samples


def _start(name: str) -> int:
    """Where the name in the tar begins."""
    return end + 5 if (end := name.find(".tar/")) >= 0 else 0


def _image(files: Mapping[str, str]) -> str | None:
    return next((suffix for suffix in files if "." not in suffix and is_image(f"x.{suffix}")), None)


def _target(tree: Tree, files: Mapping[str, str], names: dict[Target, str] | None = None) -> Target | None:
    """The label of a sample. The names of classes that its JSON gives are added to `names`."""
    try:
        for suffix in _LABELS:
            if suffix in files and (text := tree.read(files[suffix]).decode("utf-8", "replace").strip()):
                return _number_or_text(text)
        return _target_in_json(json.loads(tree.read(files["json"])), names) if "json" in files else None
    except (Damaged, ValueError, RecursionError):
        return None


def _target_in_json(content: Any, names: dict[Target, str] | None) -> Target | None:
    if not isinstance(content, dict):
        return _number_or_text(content)
    target = next((_number_or_text(content[key]) for key in _IN_JSON if key in content), None)
    name = next((content[key] for key in _NAME_IN_JSON if isinstance(content.get(key), str)), None)
    if names is not None and isinstance(target, int) and name is not None:
        names.setdefault(target, name)
    return target


def _number_or_text(value: Any) -> Target | None:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if isinstance(value, int) or re.fullmatch(r"-?\d{1,9}", value) else value


def _names(names: dict[Target, str], records: list[Record]) -> list[str] | None:
    """The names of all classes in label order, if the samples' JSON gives one for each."""
    numbers = {record.target for record in records}
    known = bool(numbers) and numbers == set(range(len(numbers))) and numbers <= names.keys()
    return [names[label] for label in range(len(numbers))] if known else None


def _class_names(folder: Path) -> list[str] | None:
    """The class names in a text file beside the shards, one a line."""
    for file in (place / name for place in (folder, folder.parent) for name in _CLASS_FILES):
        if file.is_file():
            return [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return None
