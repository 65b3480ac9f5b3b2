"""The plots that runs and benchmarks write."""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from feedline.pipeline.files import replacing, writable
from feedline.training.best import Measure, of, value
from feedline.training.lr_curve import nearest, shown_losses

BLUE, ORANGE, GREEN, GRAY, PALE = "#1f77b4", "#ff7f0e", "#2ca02c", "#9a9a9a", "#d8d8d8"


def new_figure(columns: int, title: str, height: float = 4.2) -> tuple[Figure, list[Axes]]:
    """A figure with some plots beside each other."""
    figure = Figure(figsize=(5.2 * columns, height), layout="constrained")
    figure.suptitle(writable(title), fontsize=11, parse_math=False)
    axes = [figure.add_subplot(1, columns, i + 1) for i in range(columns)]
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a box stands for a letter that the font lacks
        figure.savefig(temporary, format="png", dpi=120)


def curves(
    path: Path,
    history: Sequence[Mapping[str, Any]],
    lrs: Sequence[tuple[float, float]],
    title: str,
    by: Measure = "val_top1",
) -> None:
    """Accuracy, loss and learning rate over the epochs.

    Args:
        path: the PNG to write.
        history: one row per epoch, as in metrics.csv; val figures may be None.
        lrs: (epoch, learning rate) points of the run.
        title: of the plot.
        by: what the best epoch is chosen by.
    """
    figure, (accuracy, loss, rate) = new_figure(3, title)
    epochs = [row["epoch"] for row in history]
    evaluated = [row for row in history if row["val_top1"] is not None]
    names = {"top1": "val", "loss": "val"}
    if evaluated:
        names["top1"] = _best_of_val(max(evaluated, key=lambda row: value(row, by)), by)
    evaluated_epochs = [row["epoch"] for row in evaluated]
    # The training loss is the one that is minimised: on augmented images and, with label smoothing, smoothed labels.
    for axis, what, label in ((accuracy, "top1", "top-1, %"), (loss, "loss", "loss")):
        train = [row[f"train_{what}"] for row in history]
        if any(value is not None for value in train):  # top-1 is None where labels were mixed
            shown = [math.nan if value is None else value for value in train]
            axis.plot(epochs, shown, "o-", ms=3, color=BLUE, label="train (as optimised)")
        axis.plot(
            evaluated_epochs, [row[f"val_{what}"] for row in evaluated], "o-", ms=3, color=ORANGE, label=names[what]
        )
        axis.set(xlabel="epoch", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(epochs) == 1:
            axis.set_xlim(epochs[0] - 1, epochs[0] + 1)  # else around 1.00
        axis.legend(frameon=False)
    rate.plot(*zip(*lrs, strict=True), color=GREEN)
    rate.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    save(figure, path)


def _best_of_val(row: Mapping[str, Any], by: Measure) -> str:
    """The name of the line of val, with its best epoch."""
    if of(row, by) == "val_top1":
        return f"val, best {row['val_top1']:.2f} % (epoch {row['epoch']})"
    return f"val, {row['val_top1']:.2f} % in epoch {row['epoch']}, best by balanced accuracy"


def lr_range(path: Path, result: Mapping[str, Any], title: str) -> None:
    """Raw and smoothed loss over the learning rate, with the suggestions marked.

    Args:
        path: the PNG to write.
        result: the content of `lr_range.json`.
        title: of the plot.
    """
    figure, (axis,) = new_figure(1, title, 4.6)
    figure.set_size_inches(7.5, 4.8)
    axis.plot(result["lr"], result["loss"], color=GRAY, lw=0.8, alpha=0.8, label="loss")
    axis.plot(result["lr"], result["smoothed"], color=BLUE, lw=1.8, label="smoothed")
    bottom, top = shown_losses(result)
    axis.set_ylim(bottom, top)
    if result["recommended"] is None:
        axis.set_title(f"no rate is recommended: {result['reason']}", fontsize=9, wrap=True, parse_math=False)
    markers = {
        "scaled": ("D", "#9467bd"),
        "minimum": ("v", ORANGE),
        "steepest": ("o", GREEN),
        "valley": ("s", "#d62728"),
    }
    for name, lr in result["suggestions"].items():
        marker, colour = markers[name]
        note = "  <- recommended" if name == result["recommended"] else ""
        label = f"{name}: {lr:.3g}{note}"
        height = min(
            result["smoothed"][nearest(result["lr"], lr)], top - 0.06 * (top - bottom)
        )  # also where the loss is above
        axis.plot(lr, height, marker, color=colour, ms=9, ls="none", label=label)
    axis.set(xscale="log", xlabel="learning rate", ylabel="training loss")
    axis.legend(frameon=False)
    save(figure, path)


def bars(
    path: Path,
    rows: Sequence[tuple[str, float, float, float]],
    xlabel: str,
    title: str,
    colours: Sequence[str] | None = None,
) -> None:
    """Horizontal bars, on a logarithmic scale if the longest is more than ten times the shortest.

    Args:
        path: the PNG to write.
        rows: (name, median, lowest, highest).
        xlabel, title: texts of the plot.
        colours: one per bar.
    """
    figure, (axis,) = new_figure(1, title)
    figure.set_size_inches(8.5, 1.6 + 0.42 * len(rows))
    names, medians, lows, highs = zip(*rows[::-1], strict=True)
    spread = [
        [m - low for m, low in zip(medians, lows, strict=True)],
        [h - m for m, h in zip(medians, highs, strict=True)],
    ]
    axis.barh(
        names,
        medians,
        xerr=spread,
        color=colours[::-1] if colours else BLUE,
        height=0.66,
        error_kw={"ecolor": "#333333", "lw": 1},
    )
    far = max(highs) > 10 * min(lows)
    axis.set(xlabel=xlabel, **({"xscale": "log", "xlim": (min(lows) / 2, max(highs) * 3)} if far else {}))
    axis.grid(axis="y", visible=False)
    for row, (median, high) in enumerate(zip(medians, highs, strict=True)):
        behind = high * 1.08 if far else high + 0.01 * max(highs)
        axis.text(behind, row, f"{median:,.0f}" if median >= 100 else f"{median:.1f}", va="center", fontsize=9)
    save(figure, path)
