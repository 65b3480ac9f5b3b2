"""The table that is printed after a build."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from feedline.convert.doctor import conflicting, near_groups
from feedline.convert.perceptual import AUTO_PIXELS, available
from feedline.output import counted, listed, one_line
from feedline.pipeline.dataset import Dataset

NAMED = 3  # findings of a kind that are named; doctor.json names all
WIDTH = 85  # characters of a finding: a line has 100

Rows = Iterator[tuple[str, str]]


def print_table(dataset: Dataset, seconds: float) -> None:
    """Prints what was built.

    Args:
        dataset: with its doctor.json.
        seconds: that the build took.
    """
    report = json.loads((dataset.root / "doctor.json").read_text(encoding="utf-8"))
    counts = dataset.meta["findings"]
    unusual = list(_unusual(report, counts))
    rows = [
        ("dataset", str(dataset.root)),
        ("images", f"{dataset.count:,} ({_image_size(dataset)}), {counted(len(dataset.classes), 'class')}"),
        *(
            (f"split {name}", ", ".join(f"{count:,} {part}" for part, count in n.items()))
            for name, n in dataset.splits.items()
        ),
        *((f"pack {kind}", _pack(about)) for kind, about in dataset.packs.items()),
        ("mean / std", f"{_numbers(dataset.mean)} / {_numbers(dataset.meta['std'])}"),
        *_findings(counts, report["left_out"]),
        *_near_not_found(dataset, report),
        *unusual,
        ("speed", f"{dataset.count / seconds:,.0f} images/s ({seconds:.1f} s)"),
    ]
    if report["left_out"] or report["duplicates"] or unusual:
        rows.append(("details", str(dataset.root / "doctor.json")))
    for name, value in rows:
        print(f"{name:<15}{value}")


def _image_size(dataset: Dataset) -> str:
    if dataset.image_size is None:
        return "sizes vary"
    height, width = dataset.image_size
    return f"{width}x{height} pixels"


def _pack(about: dict[str, Any]) -> str:
    size = about["bytes"]
    amount = f"{size / 2**20:,.0f} MiB" if size >= 10 << 20 else f"{size / 2**10:,.0f} KiB"
    return f"{amount} in {counted(about['files'], 'file')}"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4f}" for value in values)


def _findings(counts: Mapping[str, Any], left_out: Sequence[Mapping[str, str]]) -> Rows:
    """The findings that every dataset is examined for."""
    named = "".join(f"\n    {_cut(entry['path'] + ': ' + entry['reason'], WIDTH + 11)}" for entry in left_out[:NAMED])
    yield "left out", f"{counts['left_out']:,}{named}"
    yield "one channel", f"{counts['gray']:,}"
    yield (
        "duplicates",
        f"{counted(counts['duplicate_groups'], 'group of identical images')}, {counts['conflicting_groups']:,} with "
        f"different labels{_across(counts['crossing_groups'])}",
    )


def _near_not_found(dataset: Dataset, report: Mapping[str, Any]) -> Rows:
    """Says how to find images that look alike, if it would be done were the package there."""
    pixels = int(dataset.sizes.astype(np.int64).prod(axis=1).max())
    if report["near_duplicates"] is None and pixels >= AUTO_PIXELS and not available():
        yield "look alike", "not looked for: pip install 'feedline[near]' finds near duplicates of large images"


def _unusual(report: Mapping[str, Any], counts: Mapping[str, Any]) -> Rows:
    """The findings that most datasets have not."""
    if near := near_groups(report):
        across = _across(counts["near_crossing_groups"])
        different = f"{conflicting(near):,} with different labels"
        yield "look alike", _cut(f"{counted(len(near), 'group of images')}, {different}{across}")
    if groups := report["groups"]:
        none = f", {counted(groups['images_in_none'], 'image in none')}" if groups["images_in_none"] else ""
        across = "".join(f"; across {name}: {n:,}" for name, n in counts["torn_groups"].items())
        in_test = counts.get("groups_in_test", 0)
        test = f"; torn between test and the rest by the source: {in_test:,}" if in_test else ""
        yield "groups", _cut(f"{groups['groups']:,}{none}{across}{test}")
    if ignored := report["ignored"]:
        kinds = [f"{kind['files']:,} {kind['suffix'] or 'without suffix'} ({kind['reason']})" for kind in ignored]
        yield "ignored", _listed(counted(counts["ignored"], "file"), kinds)
    if warnings := report["warnings"]:
        yield (
            "warnings",
            _cut(f"{len(warnings):,} decoded with a warning: {warnings[0]['path']}: {warnings[0]['reason']}"),
        )
    if empty := report["empty_classes"]:
        yield "no images", _classes(empty)
    if single := [about["folder"] for about in report["classes"] if about["images"] == 1]:
        yield "one image", _classes(single)
    for missing in report["missing_classes"]:
        yield "missing", _classes(missing["classes"], f" in {missing['part']} of {missing['split']}")
    if misfits := report["misfits"]:
        paths, where = misfits[0]["paths"], f"{misfits[0]['part']} of {misfits[0]['split']}"
        more = f", and {counted(len(misfits) - 1, 'group more')}" if len(misfits) > 1 else ""
        yield "too large", _cut(f"{len(paths):,} images that belong together are all in {where}: {paths[0]}, ...{more}")
    for note in report["notes"]:
        yield "note", one_line(note)


def _across(counts: Mapping[str, int]) -> str:
    return "".join(f", {n:,} across {name}" for name, n in counts.items())


def _classes(folders: Sequence[str], where: str = "") -> str:
    return _listed(f"{counted(len(folders), 'class')}{where}", folders)


def _listed(what: str, names: Sequence[str]) -> str:
    """As many names as fit on a line, and how many more there are."""
    lines = (one_line(f"{what}: {listed(names, most)}") for most in range(NAMED, 0, -1))
    return next((line for line in lines if len(line) <= WIDTH), _cut(f"{what}: {names[0]}"))


def _cut(text: str, width: int = WIDTH) -> str:
    """A text on a line; names may hold anything."""
    text = one_line(text)
    return text if len(text) <= width else f"{text[: width - 3]}..."
