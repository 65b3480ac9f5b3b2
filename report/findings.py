"""What the converter found in a dataset, for the report of a run."""

from collections.abc import Mapping
from typing import Any

from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.report.page import Section, facts

WORDS = {
    "left_out": "images left out",
    "ignored": "files that are no images",
    "warnings": "decoded with warnings",
    "gray": "of one channel",
    "duplicate_groups": "groups of identical images",
    "conflicting_groups": "of these with different labels",
    "near_groups": "groups of images that look alike",
    "misfits": "groups that fit on no side of the stratified split",
    "empty_classes": "classes without images",
    "missing_classes": "classes that are missing in a part of a split",
    "groups": "groups that stay together",
    "groups_in_test": "of these torn between test and the rest by the source",
}
ACROSS = {
    "crossing_groups": "identical images across the parts of",
    "near_crossing_groups": "images that look alike across the parts of",
    "torn_groups": "groups torn apart by",
}


def findings_section(dataset: Dataset) -> Section:
    """The counts of what the build found; doctor.json names each."""
    findings: Mapping[str, Any] = dataset.meta.get("findings", {})
    rows = [(words, f"{findings[name]:,}") for name, words in WORDS.items() if name in findings]
    rows += [
        (f"{words} {split}", f"{count:,}")
        for name, words in ACROSS.items()
        for split, count in findings.get(name, {}).items()
    ]
    text = (
        f"{counted(dataset.count, 'image')}, {counted(len(dataset.classes), 'class')}. "
        f"{dataset.root / 'doctor.json'} names each finding."
    )
    return Section("What the build found", text, tables=[facts(rows)] if rows else [])
