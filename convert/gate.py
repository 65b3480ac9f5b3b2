"""`--fail-on`: findings that a build must not have, for CI."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from feedline.convert.doctor import conflicting, near_groups
from feedline.convert.layouts import LABEL_FILE
from feedline.pipeline.errors import InputError, did_you_mean, first_line

Report = Mapping[str, Any]


def _crossing(report: Report) -> int:
    return sum(bool(group["crosses"]) for group in [*report["duplicates"], *near_groups(report)])


# {name: (what is counted, for the line; the count)}
FINDINGS: dict[str, tuple[str, Callable[[Report], int]]] = {
    "leaks": ("groups of duplicates across a split", _crossing),
    "conflicts": (
        "groups of identical images with different labels",
        lambda report: conflicting(report["duplicates"]),
    ),
    "duplicates": ("groups of identical images", lambda report: len(report["duplicates"])),
    "damaged": (
        "images that do not decode",
        lambda report: sum(entry["reason"].startswith("does not decode") for entry in report["left_out"]),
    ),
    "left-out": ("images that are not used", lambda report: len(report["left_out"])),
    "ignored": (
        "files that are not taken",
        lambda report: sum(kind["files"] for kind in report["ignored"] if kind["reason"] != LABEL_FILE),
    ),
    "warnings": ("images decoded with warnings", lambda report: len(report["warnings"])),
    "empty-classes": ("classes without images", lambda report: len(report["empty_classes"])),
    "missing-classes": (
        "classes missing from a part",
        lambda report: sum(len(entry["classes"]) for entry in report["missing_classes"]),
    ),
    "groups": ("groups across a split", lambda report: len((report["groups"] or {"torn": []})["torn"])),
}


def parse(text: str, *, grouped: bool) -> list[str]:
    """The names in `leaks,damaged`; `all` is all of them.

    Args:
        text: names, separated by commas.
        grouped: whether images are grouped.

    Raises:
        InputError: if a name is unknown, or nothing looks for it.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in FINDINGS and name != "all"]:
        near = did_you_mean(unknown[0], [*FINDINGS, "all"])
        raise InputError(f"`fail_on={unknown[0]}`: choose from {', '.join(FINDINGS)}, all{near}")
    if not names:
        raise InputError(f"`fail_on`: is empty; choose from {', '.join(FINDINGS)}, all")
    if "groups" in names and not grouped:
        raise InputError("`fail_on=groups`: needs `group`, which says what belongs together")
    return list(FINDINGS) if "all" in names else list(dict.fromkeys(names))


def require_near(root: Path) -> None:
    """Checks that a dataset was examined for near duplicates.

    Raises:
        InputError: if it was not, or its doctor.json cannot be read.
    """
    if _read(root).get("near_duplicates") is None:
        raise InputError(f"{root}: was built without `near_duplicates=on`; add `force` to build it again")


def require_all(root: Path) -> None:
    """Checks that a dataset has every image of its source.

    Raises:
        InputError: if some were left out, or its doctor.json cannot be read.
    """
    try:
        first = next((f"{entry['path']}: {entry['reason']}" for entry in _read(root).get("left_out", [])), None)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{root / 'doctor.json'}: is damaged; `force` builds the dataset again") from error
    if first is not None:
        raise InputError(
            f"{root}: was built without {first} (`strict`); correct the source, and add `force` to build it again"
        )


def found(root: Path, names: Sequence[str]) -> str:
    """What doctor.json lists of these findings, for a line; empty if it lists nothing.

    Args:
        root: the dataset folder.
        names: keys of FINDINGS.

    Raises:
        InputError: if there is no doctor.json, or it is older than a finding.
    """
    if not names:
        return ""
    report, path = _read(root), root / "doctor.json"
    try:
        counts = {name: FINDINGS[name][1](report) for name in names}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: an older program wrote it, which did not look for {error}; `force` builds the dataset again"
        ) from error
    return ", ".join(f"{name}: {n:,} ({FINDINGS[name][0]})" for name, n in counts.items() if n)


def _read(root: Path) -> dict[str, Any]:
    path = root / "doctor.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({first_line(error)}); `force` builds the dataset again") from error
    if not isinstance(report, dict):
        raise InputError(f"{path}: is no report; `force` builds the dataset again")
    return report
