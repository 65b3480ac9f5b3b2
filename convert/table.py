"""The table that is printed after a build."""

import json
from collections.abc import Sequence
from typing import Any

from feedline.output import one_line
from feedline.pipeline.dataset import Dataset

LEFT_OUT_SHOWN = 3  # images that are named; doctor.json names all


def print_table(dataset: Dataset, seconds: float) -> None:
    """Prints what was built.

    Args:
        dataset: with its doctor.json.
        seconds: that the build took.
    """
    report = json.loads((dataset.root / "doctor.json").read_text(encoding="utf-8"))
    rows = [
        ("dataset", str(dataset.root)),
        ("images", f"{dataset.count:,} ({_image_size(dataset)}), {len(dataset.classes)} classes"),
        *(
            (f"split {name}", ", ".join(f"{count:,} {part}" for part, count in n.items()))
            for name, n in dataset.splits.items()
        ),
        *((f"pack {kind}", _pack(about)) for kind, about in dataset.packs.items()),
        ("mean / std", f"{_numbers(dataset.mean)} / {_numbers(dataset.std)}"),
        *_findings(dataset.meta["findings"], report["left_out"]),
        ("speed", f"{dataset.count / seconds:,.0f} images/s ({seconds:.1f} s)"),
    ]
    if report["left_out"] or report["duplicates"]:
        rows.append(("details", str(dataset.root / "doctor.json")))
    for name, value in rows:
        print(f"{name:<15}{value}")


def _image_size(dataset: Dataset) -> str:
    if dataset.image_size is None:
        return "sizes vary"
    height, width = dataset.image_size
    return f"{width}x{height} pixels"


def _pack(about: dict[str, Any]) -> str:
    return f"{about['bytes'] / 2**20:,.0f} MiB in {about['files']} files"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _findings(counts: dict[str, Any], left_out: list[dict[str, str]]) -> list[tuple[str, str]]:
    named = "".join(
        f"\n    {one_line(entry['path'])}: {one_line(entry['reason'])}" for entry in left_out[:LEFT_OUT_SHOWN]
    )
    across = "".join(f", {n:,} across {name}" for name, n in counts["crossing_groups"].items())
    return [
        ("left out", f"{counts['left_out']:,}{named}"),
        ("one channel", f"{counts['gray']:,}"),
        (
            "duplicates",
            f"{counts['duplicate_groups']:,} groups of identical images, {counts['conflicting_groups']:,} with "
            f"different labels{across}",
        ),
    ]
