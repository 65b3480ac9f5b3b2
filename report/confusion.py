"""Confusion matrices as PNG files, for papers, slides and reviews."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from feedline.output import one_line
from feedline.report.charts import similar_side_by_side
from feedline.training.plots import save

COUNTS, SHARES = "confusion_matrix.png", "confusion_matrix_normalized.png"
LABELLED = 40  # classes whose names can be read
NUMBERED = 20  # classes whose cells hold their numbers
NAME = 24  # letters

Values = NDArray[np.int64] | NDArray[np.float64]


def save_confusions(folder: Path, counts: NDArray[np.int64], names: Sequence[str]) -> None:
    """Writes two matrices: of images, and of their shares of the class, in percent.

    Rows are classes, columns what they were taken for. Up to 40 classes stand in their order, with their names; more
    stand so that those that are taken for each other are neighbours, without.

    Args:
        folder: for the files.
        counts: int64 [classes, classes]: images by class (row) and predicted class (column).
        names: of the classes.
    """
    if len(names) > LABELLED:
        order = similar_side_by_side(counts)
        counts, names = counts[np.ix_(order, order)], [names[i] for i in order]
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    _save(folder / COUNTS, counts, names, "images")
    _save(folder / SHARES, shares, names, "% of the class")


def _save(path: Path, values: Values, names: Sequence[str], unit: str) -> None:
    axis = _axis(names if len(names) <= LABELLED else ())
    highest = max(float(values.max()), 1.0) if unit == "images" else 100.0
    # Confusions are rare beside what is right: the root of a share tells 1 % from none.
    image = axis.imshow(values, cmap="Blues", norm=PowerNorm(0.5, 0, highest), interpolation="nearest", aspect="auto")
    axis.figure.colorbar(image, cax=axis.inset_axes((1.03, 0, 0.03, 1)), label=unit)
    axis.set(xlabel="predicted", ylabel="class")
    if len(names) <= LABELLED:
        _label(axis, names)
    else:
        axis.set(xticks=[], yticks=[], title=f"{len(names)} classes, those that are confused side by side")
    if len(names) <= NUMBERED:
        _number(axis, values, highest)
    save(axis.figure, path)


def _axis(labels: Sequence[str]) -> Any:
    """Axes with room for labels. matplotlib's own layouts draw everything three times to find it."""
    count, size, angle = len(labels) or 200, _size(len(labels)), _angle(len(labels))
    side = min(max(0.45 * count, 3.6), 9) if count <= NUMBERED else min(max(0.21 * count, 9), 12)  # inches
    longest = max((0.62 * size / 72 * len(_shown(label)) for label in labels), default=0)
    left, bottom, right, top = 0.6 + longest, 0.6 + longest * math.sin(math.radians(angle)), 1.3, 0.5
    width, height = left + side + right, bottom + side + top
    figure = Figure(figsize=(width, height))
    return figure.add_axes((left / width, bottom / height, side / width, side / height))


def _shown(name: str) -> str:
    text = one_line(name)
    return text if len(text) <= NAME else text[: NAME - 1] + "…"


def _size(count: int) -> int:
    """Of the letters, in points."""
    return 9 if count <= NUMBERED else 8


def _angle(count: int) -> int:
    """Of the names below."""
    return 45 if count <= NUMBERED else 90


def _label(axis: Any, names: Sequence[str]) -> None:
    """Names the classes; what looks like a formula stays what it is."""
    shown, size, angle = [_shown(name) for name in names], _size(len(names)), _angle(len(names))
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if angle == 45 else {"rotation": angle}
    axis.set_xticks(range(len(names)), shown, fontsize=size, parse_math=False, **turned)
    axis.set_yticks(range(len(names)), shown, fontsize=size, parse_math=False)


def _number(axis: Any, values: Values, highest: float) -> None:
    """Writes into each cell what it holds."""
    for row, column in zip(*np.nonzero(values), strict=True):
        value = values[row, column]
        colour = "white" if value > 0.35 * highest else "black"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
