"""The doctor: everything unusual about a set of images, for doctor.json."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from feedline.convert.collect import Converted
from feedline.convert.duplicates import group_identical
from feedline.convert.groups import members
from feedline.convert.near import find_near
from feedline.convert.splits import Splits
from feedline.pipeline.dataset import ClassInfo, Split

PartOf = dict[str, dict[int, str]]  # {split: {image id: part}}


def examine(
    converted: Converted, splits: Splits, classes: Sequence[ClassInfo], group: str | None = None
) -> dict[str, Any]:
    """Lists every finding, ready for JSON.

    Args:
        converted: what is known of the images.
        splits: of the dataset.
        classes: in label order.
        group: how the images were grouped.

    Returns:
        `left_out`: path and reason of every image that is not in the dataset.
        `ignored`: other files that were not taken, counted by reason and suffix.
        `warnings`: path and reason of images that were decoded with a warning.
        `gray`: paths of images with one channel.
        `duplicates`: groups of identical images: paths, labels, and the splits that have them in more than one part.
        `misfits`: groups that must stay on one side of the stratified split and fit on neither, with the part they got.
        `near_duplicates`: groups of images that look alike, and how many bits of their hashes differ; None if they were
            not looked for.
        `groups`: how many, and those that are torn: the splits that have them in train and in val, and whether the
            source's test part has some of their images; None if images were not grouped.
        `classes`: images of each class, in all and in each part of each split.
        `empty_classes`: folders of classes without images.
        `missing_classes`: folders of classes that have images, but none in a part.
        `notes`: lines on what is not as it was asked for.
    """
    part_of = {split.name: _part_of(split) for split in splits.made}
    paths = [record.path for record in converted.records]
    labels = [record.label for record in converted.records]
    images = _images(splits.made, labels, classes)
    return {
        "left_out": [{"path": path, "reason": reason} for path, reason in converted.left_out],
        "ignored": _ignored(converted.ignored),
        "warnings": [
            {"path": path, "reason": reason} for path, reason in zip(paths, converted.warnings, strict=True) if reason
        ],
        "gray": [path for path, is_gray in zip(paths, converted.gray, strict=True) if is_gray],
        "duplicates": [
            {
                "paths": [paths[i] for i in group],
                "labels": [labels[i] for i in group],
                "crosses": _crosses(group, part_of),
            }
            for group in group_identical(converted.digests)
            if len(group) > 1
        ],
        "misfits": [
            {
                "paths": [paths[i] for i in group],
                "split": splits.made[-1].name,
                "part": part_of[splits.made[-1].name][group[0]],
            }
            for group in splits.misfits
        ],
        "near_duplicates": _near(converted, paths, part_of),
        "groups": _groups(group, converted.groups, part_of),
        "classes": images,
        "empty_classes": [about["folder"] for about in images if not about["images"]],
        "missing_classes": _missing(splits.made, images),
        "notes": splits.notes,
    }


def count(report: Mapping[str, Any]) -> dict[str, Any]:
    """Counts the findings of a report, for dataset.json and the table. Rare ones have an entry if there are some."""
    duplicates = report["duplicates"]
    rare = {
        "ignored": sum(entry["files"] for entry in report["ignored"]),
        "warnings": len(report["warnings"]),
        "misfits": len(report["misfits"]),
        "empty_classes": len(report["empty_classes"]),
        "missing_classes": sum(len(entry["classes"]) for entry in report["missing_classes"]),
    }
    groups, near = report["groups"], near_groups(report)
    return {
        "left_out": len(report["left_out"]),
        "gray": len(report["gray"]),
        "duplicate_groups": len(duplicates),
        "conflicting_groups": conflicting(duplicates),
        "crossing_groups": _across(duplicates),
        **{name: n for name, n in rare.items() if n},
        **({"near_groups": len(near), "near_crossing_groups": _across(near)} if near else {}),
        **(_count_groups(groups) if groups else {}),
    }


def near_groups(report: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The groups of images that look alike; none if they were not looked for."""
    near: Mapping[str, Any] | None = report["near_duplicates"]
    return near["groups"] if near else []


def conflicting(groups: Sequence[Mapping[str, Any]]) -> int:
    """How many groups have different labels."""
    return sum(len(set(group["labels"])) > 1 for group in groups)


def _count_groups(groups: Mapping[str, Any]) -> dict[str, Any]:
    in_test = sum(group["in_test"] for group in groups["torn"])
    about = {"groups": groups["groups"], "torn_groups": _across(groups["torn"])}
    return {**about, "groups_in_test": in_test} if in_test else about


def _across(groups: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """{split: groups that it has in more than one part}"""
    return dict(Counter(name for group in groups for name in group["crosses"]))


def _near(converted: Converted, paths: Sequence[str], part_of: PartOf) -> dict[str, Any] | None:
    hashes = [value for value in converted.hashes if value is not None]
    if not hashes:
        return None
    return {
        "images": len(hashes),
        "too_flat": hashes.count(b""),
        "groups": [
            {
                "paths": [paths[i] for i in group.images],
                "labels": [converted.records[i].label for i in group.images],
                "distance": group.distance,
                "crosses": _crosses(group.images, part_of),
            }
            for group in find_near([value or b"" for value in converted.hashes], converted.digests)
        ],
    }


def _groups(by: str | None, groups: Sequence[str] | None, part_of: PartOf) -> dict[str, Any] | None:
    if groups is None:
        return None
    found = members(groups)
    largest = max(found, key=lambda name: len(found[name]), default="")  # all that are in one may be left out
    drawn = {name: {i: part for i, part in parts.items() if part != "test"} for name, parts in part_of.items()}
    test = {i for i, part in next(iter(part_of.values())).items() if part == "test"}
    torn = [
        {
            "group": name,
            "images": len(images),
            "crosses": _crosses(images, drawn),
            "in_test": 0 < sum(i in test for i in images) < len(images),
        }
        for name, images in found.items()
    ]
    return {
        "by": by,
        "groups": len(found),
        "images_in_none": groups.count(""),
        "largest": {"group": largest, "images": len(found.get(largest, []))},
        "torn": [about for about in torn if about["crosses"] or about["in_test"]],
    }


def _part_of(split: Split) -> dict[int, str]:
    return {i: part for part, ids in split.parts.items() for i in ids.tolist()}


def _crosses(group: Sequence[int], part_of: PartOf) -> list[str]:
    """The splits that have images of a group in more than one part."""
    return [name for name, part in part_of.items() if len({part[i] for i in group if i in part}) > 1]


def _ignored(files: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """Files by reason and suffix, the most frequent first, with a name each."""
    kinds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, reason in files:
        kinds[reason, PurePosixPath(name).suffix.lower()].append(name)
    return [
        {"reason": reason, "suffix": suffix, "files": len(names), "example": min(names)}
        for (reason, suffix), names in sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0]))
    ]


def _images(splits: Sequence[Split], labels: Sequence[int], classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """Images of each class, in label order."""
    images = Counter(labels)
    per_part = {
        split.name: {part: Counter(labels[i] for i in ids.tolist()) for part, ids in split.parts.items()}
        for split in splits
    }
    return [
        {
            "folder": info.folder,
            "images": images[info.id],
            **{name: {part: n[info.id] for part, n in parts.items()} for name, parts in per_part.items()},
        }
        for info in classes
    ]


def _missing(splits: Sequence[Split], images: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Classes that have images, but none in a part of a split. Test is the same in all splits, and named once."""
    places = [(split.name, part) for split in splits for part in split.parts if part != "test" or split is splits[0]]
    missing = [
        {
            "split": name,
            "part": part,
            "classes": [about["folder"] for about in images if about["images"] and not about[name][part]],
        }
        for name, part in places
    ]
    return [entry for entry in missing if entry["classes"]]
