"""Curves of several runs, over epochs, steps or time."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from numpy.typing import NDArray

from feedline.report import charts
from feedline.report.page import Section
from feedline.training.recorded import RecordedRun

# Of each run; told from each other on white and on near black.
COLOURS = (*charts.COLOURS[:5], "#16a5b8", "#d35fb7", "#a38b00", "#8a8a8a", "#94603a")
POINTS = 250  # of a line at most: with ten runs the page stays below 2 MB
OF_EPOCHS = {
    "val top-1, %": "val_top1",
    "val loss": "val_loss",
    "train top-1, as optimised, %": "train_top1",
    "train loss, as optimised": "train_loss",
}
OF_STEPS = {"learning rate": "lr", "images/s": "images_per_s_last"}

Column = NDArray[np.float64]


def curves_section(runs: Sequence[RecordedRun], names: Sequence[str]) -> Section:
    """What each epoch and each logged step gave.

    Args:
        runs: at most as many as there are colours.
        names: theirs.
    """
    lengths = [_seconds(run, np.array([run.steps]))[0] for run in runs]
    unit, seconds = _unit(max(filter(math.isfinite, lengths), default=0.0))
    axes = [("epoch", "epoch"), ("step", "step"), ("time", unit)]
    shown = []
    for title, key in {**OF_EPOCHS, **OF_STEPS}.items():
        chart = charts.blank(title, axes[0][1], "")
        for name, colour, run in zip(names, COLOURS, runs, strict=False):
            records = run.epochs if key in OF_EPOCHS.values() else run.log
            points = _points(run, records, key, seconds)
            if len(points["y"]):
                _draw(chart, name, colour, points, unit, size=5 if records is run.epochs else 2)
        if chart.renderers:
            shown.append(chart)
    text = "" if shown else "No step was logged."
    return Section("Curves", text, charts=shown, axes=axes, key=list(zip(names, COLOURS, strict=False)))


def _draw(chart: Any, name: str, colour: str, points: Mapping[str, Column], unit: str, size: int) -> None:
    """Adds a line with dots that answer to hovering."""
    source = ColumnDataSource({column: values.astype(np.float32) for column, values in points.items()})
    chart.line("epoch", "y", source=source, color=colour, line_width=2, name=name)
    dots = chart.scatter("epoch", "y", source=source, color=colour, size=size, name=name)
    tips = [("", "$name"), ("epoch", "@epoch{0.[00]}"), ("step", "@step{0,0}"), (unit, "@time{0,0.[0]}")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=[*tips, (chart.title.text, "@y{0,0.[0000]}")]))
    chart.x_range.only_visible = chart.y_range.only_visible = True


def _points(run: RecordedRun, records: Sequence[Mapping[str, Any]], key: str, seconds: float) -> dict[str, Column]:
    """Where a line goes through; of many points some are left out.

    Args:
        run: whose records they are.
        records: of its log.
        key: of the value.
        seconds: in the unit of time.
    """
    y, step = _column(records, key), _column(records, "step")
    kept = charts.thinned(np.flatnonzero(np.isfinite(y) & np.isfinite(step)), POINTS)
    step = step[kept]
    return {"epoch": step / run.batches, "step": step, "time": _seconds(run, step) / seconds, "y": y[kept]}


def _seconds(run: RecordedRun, steps: NDArray[Any]) -> Column:
    """The seconds from the start to some steps: between the ends of epochs, and behind the last, at a steady speed."""
    ends, times = _column(run.epochs, "step"), _column(run.epochs, "seconds")
    known = np.isfinite(ends) & np.isfinite(times)
    ends, times = np.append(0.0, ends[known]), np.append(0.0, times[known])
    if len(ends) == 1:  # no epoch is finished
        speed = _column(run.log, "images_per_s")[-1:]
        size = run.config.get("batch_size")
        step_time = size / speed[0] if len(speed) and speed[0] > 0 and isinstance(size, int) else np.nan
    else:
        step_time = times[-1] / ends[-1]
    behind = np.maximum(steps - ends[-1], 0) * step_time
    return np.asarray(np.interp(steps, ends, times) + behind)


def _column(records: Sequence[Mapping[str, Any]], key: str) -> Column:
    """The values of a key; not a number where there is none."""
    values = (record.get(key) for record in records)
    return np.array([v if isinstance(v, (int, float)) else np.nan for v in values], dtype=np.float64)


def _unit(longest: float) -> tuple[str, float]:
    """What time is counted in, and the seconds that this has."""
    return next((unit for unit in (("hours", 3600.0), ("minutes", 60.0)) if longest >= 2 * unit[1]), ("seconds", 1.0))
