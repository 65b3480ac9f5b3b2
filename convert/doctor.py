"""The doctor: everything unusual about a set of images, for doctor.json."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from feedline.convert.duplicates import group_identical
from feedline.pipeline.dataset import Record, Split


def examine(
    records: Sequence[Record],
    digests: Sequence[bytes],
    gray: Sequence[bool],
    left_out: Sequence[tuple[str, str]],
    splits: Sequence[Split],
) -> dict[str, Any]:
    """Lists every finding.

    Args:
        records: the images of the dataset.
        digests: of each image's bytes.
        gray: whether each image has one channel.
        left_out: (name in the source, reason) of every image that is not in the dataset.
        splits: of the dataset.

    Returns:
        `left_out` (path, reason), `gray` (paths), `duplicates` (paths, labels, and the splits that have them in more
        than one part), ready for JSON.
    """
    part_of = {split.name: {i: part for part, ids in split.parts.items() for i in ids.tolist()} for split in splits}
    return {
        "left_out": [{"path": path, "reason": reason} for path, reason in left_out],
        "gray": [record.path for record, is_gray in zip(records, gray, strict=True) if is_gray],
        "duplicates": [
            {
                "paths": [records[i].path for i in group],
                "labels": [records[i].label for i in group],
                "crosses": [name for name, part in part_of.items() if len({part[i] for i in group}) > 1],
            }
            for group in group_identical(digests)
            if len(group) > 1
        ],
    }


def count(report: Mapping[str, Any]) -> dict[str, Any]:
    """Counts the findings of a report, for dataset.json and the table on the screen."""
    duplicates = report["duplicates"]
    return {
        "left_out": len(report["left_out"]),
        "gray": len(report["gray"]),
        "duplicate_groups": len(duplicates),
        "conflicting_groups": sum(len(set(group["labels"])) > 1 for group in duplicates),
        "crossing_groups": dict(Counter(name for group in duplicates for name in group["crosses"])),
    }
