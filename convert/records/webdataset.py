"""webdataset shards: tars in which files of one key belong together, `0001.jpg` and `0001.cls` or `0001.json`."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import NoneType
from typing import Any

from feedline.convert.layouts import Listing, is_image
from feedline.convert.layouts.label_text import is_whole, plain
from feedline.convert.layouts.taken import NOT_AN_IMAGE
from feedline.convert.records import Record, Target, number, part_of
from feedline.convert.records.shards import common_folder
from feedline.convert.records.targets import as_target
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Damaged, Tree, stamp_of
from feedline.convert.trees.compressed import compression, is_tar, unpack
from feedline.convert.trees.shards import ShardTree
from feedline.output import counted, listed
from feedline.pipeline.errors import InputError, first_line

# As webdataset divides a name: the key is the path up to the first dot of the file's name.
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)")
_PACKED = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)$", re.IGNORECASE)
_META = re.compile(r"__[^/]*__($|/)")  # what webdataset skips
_LABELS = ("cls", "label", "class", "target", "cls.txt", "label.txt")  # files that hold nothing but the label
_IN_JSON = ("label", "cls", "class", "class_id", "target", "class_name", "category")
_NAME_IN_JSON = ("class_name", "label_name", "classname", "name")
_CLASS_FILES = ("classnames.txt", "classes.txt", "class_names.txt", "labels.txt")

NO_LABEL = "no label beside it (.cls, or .json with a label)"
_KINDS = {bool: "truth value", float: "fraction", list: "list", dict: "object", str: "text without letters"}

# {key: {what follows the key: name in the tree}}
Samples = dict[str, dict[str, str]]


def matches(tree: Tree) -> bool:
    """Whether a tar is a shard: its first image has a label of its own beside it."""
    for files in _samples(list(tree.contents.files)).values():
        if _image(files) and len(files) > 1:
            label = _label(tree, files)
            return label.target is not None or label.reason != NO_LABEL
    return False


def read(name: str, paths: list[Path], source: str, scratch: Scratch, label_column: str | None = None) -> Listing:
    """Lists the images of shards.

    The part is what the shard's name says, else the folder's: `imagenet-val-000.tar`, `test/000.tar`; else train.

    Args:
        name: of the dataset.
        paths: of the shards.
        source: what errors call it.
        scratch: gets shards that are compressed.
        label_column: the field of the samples' JSON that holds the label; None to find it.

    Raises:
        InputError: if a file is no tar, or no image has a label.
    """
    folder = common_folder(paths)
    file = next((folder / name for name in _CLASS_FILES if (folder / name).is_file()), None)
    tree = _open(folder, paths, scratch)
    contents = tree.contents
    samples = _samples(list(contents.files))
    left_out, ignored, records = list(contents.left_out), _in_no_sample(contents.files, samples), []
    names: dict[Target, str] = {}
    for files in samples.values():
        image = _image(files)
        unlabelled, others = _others(files, image)
        left_out += unlabelled
        ignored += others
        if image is None:
            continue
        label = _label(tree, files, label_column)
        if label.target is None:
            left_out.append((files[image], label.reason))
            continue
        if label.name is not None:
            names.setdefault(label.target, label.name)
        part = part_of(tree.split(files[image])[0])
        size = contents.files[files[image]]
        records.append(Record(files[image], part, label.target, f".{image}", size, columns=label.columns))
    if not records:
        raise _no_labels(source, left_out)
    classes = None if file is None else _class_names(file, records)
    records, on_columns = _with_common_columns(records)
    infos, items, unknown = number(records, classes or _names(names, records))
    if not items:
        why = f"{file} names the classes, correct it or take it away" if file else "below 0 it says that there is none"
        raise InputError(f"`source={source}`: no image has a label: {unknown[0][0]}: {unknown[0][1]}; {why}")
    notes = [] if file is None else [f"classes: named by {file.name}, which lies beside the shards"]
    notes = [*contents.notes, *notes, *on_columns]
    read = frozenset() if file is None else frozenset((file.name,))
    return Listing(name, tree, infos, items, sorted([*left_out, *unknown]), sorted(ignored), notes, read)


def _no_labels(source: str, left_out: Sequence[tuple[str, str]]) -> InputError:
    """The error for shards without a single label that can be used."""
    reasons = Counter(reason for _, reason in left_out if reason.startswith("the label"))
    if reasons:
        reason, count = reasons.most_common(1)[0]
        return InputError(
            f"`source={source}`: no image has a label that is a whole number or a text: {reason} "
            f"({counted(count, 'image')}); name another field of the JSON with `label_column`"
        )
    return InputError(
        f"`source={source}`: its tars hold no images with labels of the same key (0001.jpg and 0001.cls or 0001.json); "
        "if they hold folders of classes, unpack them into one folder, and give that"
    )


def _in_no_sample(names: Iterable[str], samples: Samples) -> list[tuple[str, str]]:
    """(name, reason) of files whose names have no key."""
    inside = {name for files in samples.values() for name in files.values()}
    outside = (name for name in names if name not in inside)
    return [(name, "of no sample (its name has no key, or is listed twice)") for name in outside]


def _others(files: Mapping[str, str], image: str | None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """What is not used of a sample: images that are left out, and other files."""
    left_out, others = [], []
    for suffix, name in files.items():
        if suffix == image or suffix == "json" or suffix in _LABELS:
            continue
        if not is_image(f"x.{suffix}"):
            others.append((name, NOT_AN_IMAGE))
        elif image is None or "." not in suffix:
            key = f"the key of a sample ends at the first dot, so this is a further image (.{suffix})"
            left_out.append((name, f"{key}; rename it in the shard" if image is None else f"beside .{image}"))
        else:
            others.append((name, f"a further image of the sample (.{suffix})"))
    return left_out, others


def _with_common_columns(records: list[Record]) -> tuple[list[Record], list[str]]:
    """The records with those columns that all have, and a line on the others."""
    counts = Counter(column for record in records for column in record.columns)
    common = [column for column, count in counts.items() if count == len(records)]
    rare = [f"{column!r} ({counted(counts[column], 'image')})" for column in counts if column not in common]
    notes = [f"columns that not all images have are not kept: {listed(rare)}"] if rare else []
    return [replace(r, columns={column: r.columns[column] for column in common}) for r in records], notes


def _open(folder: Path, paths: list[Path], scratch: Scratch) -> ShardTree:
    for path in paths:
        if not is_tar(path):
            raise InputError(f"{path}: not a readable tar; download it again, or leave it out")
    shorts = [str(path.relative_to(folder)) for path in paths]
    if not any(compression(path) for path in paths) and all(short.endswith(".tar") for short in shorts):
        return _tree(folder, shorts)
    unpacked = _unpacked(shorts)
    for path, target in zip(paths, unpacked, strict=True):
        (scratch.folder() / target).parent.mkdir(parents=True, exist_ok=True)
        unpack(path, scratch.folder() / target)
    return _tree(scratch.folder(), unpacked)


def _tree(folder: Path, names: Sequence[str]) -> ShardTree:
    return ShardTree(folder, {name: stamp_of(folder / name) for name in names})


def _unpacked(shorts: Sequence[str]) -> list[str]:
    """What shards are called without their compression; with a number where another has that name already."""
    names: dict[str, None] = {}
    for short in shorts:
        stem, number = _PACKED.sub("", short), 1
        name = f"{stem}.tar"
        while name in names:
            number += 1
            name = f"{stem}-{number}.tar"
        names[name] = None
    return list(names)


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


@dataclass(frozen=True)
class _Label:
    """The label of a sample, or the reason why it has none; the class's name and further fields, from its JSON."""

    target: Target | None
    reason: str = NO_LABEL
    name: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def _label(tree: Tree, files: Mapping[str, str], column: str | None = None) -> _Label:
    try:
        content = json.loads(tree.read(files["json"])) if "json" in files else None
    except InputError:
        raise
    except (ValueError, RecursionError):
        content = None
    fields = content if isinstance(content, dict) else {}
    for suffix in () if column else _LABELS:
        try:
            text = tree.read(files[suffix]).decode("utf-8", "replace").strip() if suffix in files else ""
        except Damaged:
            continue
        if text:
            return _Label(_number_or_text(text), columns=_columns(fields, ()))
    key = column if column in fields else next((key for key in _IN_JSON if key in fields), None)
    if column and column not in fields:
        return _Label(None, f"the label: no field {column!r} in its JSON, which has {', '.join(map(repr, fields))}")
    if key is None and (content is None or isinstance(content, dict)):
        return _Label(None)
    value = content if key is None else fields[key]
    if (target := _number_or_text(value)) is None:
        shown = json.dumps(value, ensure_ascii=False)
        return _Label(None, f"the label {shown[:30]} is a {_KINDS.get(type(value), 'null')}")
    named = next((k for k in _NAME_IN_JSON if isinstance(fields.get(k), str) and k != key), None)
    name = fields[named] if named and isinstance(target, int) else None
    return _Label(target, "", name, _columns(fields, (key, named if name else None)))


def _columns(fields: Mapping[str, Any], without: Sequence[str | None]) -> dict[str, str]:
    """The numbers and texts of a sample's JSON, as texts; null is an empty one."""
    return {
        key: value if isinstance(value, str) else "" if value is None else json.dumps(value)
        for key, value in fields.items()
        if key not in without and isinstance(value, (int, float, str, NoneType)) and not isinstance(value, bool)
    }


def _number_or_text(value: Any) -> Target | None:
    target = None if isinstance(value, bool) else as_target(value)
    return int(plain(target)) if isinstance(target, str) and is_whole(target) else target


def _names(names: dict[Target, str], records: list[Record]) -> list[str] | None:
    """The names of all classes in label order, if the samples' JSON gives one for each."""
    numbers = {record.target for record in records}
    known = bool(numbers) and numbers == set(range(len(numbers))) and numbers <= names.keys()
    return [names[label] for label in range(len(numbers))] if known else None


def _class_names(file: Path, records: Sequence[Record]) -> list[str] | None:
    """The class names in a text file, one a line.

    Raises:
        InputError: if it is not UTF-8, or has fewer lines than there are labels.
    """
    try:
        names = [line.strip() for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({first_line(error)}); save it as text in UTF-8") from error
    highest = max((record.target for record in records if isinstance(record.target, int)), default=-1)
    if highest >= len(names):
        raise InputError(
            f"{file}: names {counted(len(names), 'class')}, but the shards have the label {highest}; correct it"
        )
    return names
