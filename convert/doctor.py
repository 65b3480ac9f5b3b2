"""The doctor: what is odd about a set of images, said once and kept in doctor.json."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from feedline.pipeline.dataset import Record, Split


def examine(
    records: Sequence[Record],
    digests: Sequence[bytes],
    gray: Sequence[bool],
    left_out: Sequence[tuple[str, str]],
    splits: Sequence[Split],
) -> dict[str, Any]:
    """Everything found, named.

    Args:
        records: the images of the dataset.
        digests: of each image's bytes.
        gray: which images have one channel.
        left_out: names in the source and the reason why each is not in the dataset.
        splits: of the dataset.

    Returns:
        `left_out` (path, reason), `gray` (paths), `duplicates` (paths, labels, and the splits that have them on both
        sides), ready for JSON.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for image, digest in enumerate(digests):
        groups[digest].append(image)
    sides = {split.name: set(split.val.tolist()) for split in splits}
    duplicates = []
    for group in (g for g in groups.values() if len(g) > 1):
        crossing = [name for name, val in sides.items() if len({i in val for i in group}) > 1]
        duplicates.append(
            {
                "paths": [records[i].path for i in group],
                "labels": [records[i].label for i in group],
                "crosses": crossing,
            }
        )
    return {
        "left_out": [{"path": path, "reason": reason} for path, reason in left_out],
        "gray": [record.path for record, is_gray in zip(records, gray, strict=True) if is_gray],
        "duplicates": duplicates,
    }


def count(report: Mapping[str, Any]) -> dict[str, Any]:
    """The counts behind a report, as they go into dataset.json and onto the screen."""
    duplicates = report["duplicates"]
    crossing: dict[str, int] = defaultdict(int)
    for group in duplicates:
        for name in group["crosses"]:
            crossing[name] += 1
    return {
        "left_out": len(report["left_out"]),
        "gray": len(report["gray"]),
        "duplicate_groups": len(duplicates),
        "conflicting_groups": sum(len(set(group["labels"])) > 1 for group in duplicates),
        "crossing_groups": dict(crossing),
    }
