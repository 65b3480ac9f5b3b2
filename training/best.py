"""Which epoch of a run is its best: by top-1, or by balanced accuracy where `class_weights` asks for that."""

from collections.abc import Mapping
from typing import Any, Literal

Measure = Literal["val_top1", "val_balanced"]
NAMES: dict[Measure, str] = {"val_top1": "val top-1", "val_balanced": "val balanced accuracy"}


def measure(class_weights: str) -> Measure:
    """By what a run with these `class_weights` chooses its best epoch."""
    return "val_balanced" if class_weights == "balanced" else "val_top1"


def of(row: Mapping[str, Any], by: Measure) -> Measure:
    """By what an evaluated epoch is compared: top-1 where classes do not differ in size, and both are the same.

    Args:
        row: of the history, as in metrics.csv.
        by: the measure of the run.
    """
    return by if row.get(by) is not None else "val_top1"


def value(row: Mapping[str, Any], by: Measure) -> float:
    """The figure of an evaluated epoch by which it is compared, in percent."""
    return float(row[of(row, by)])
