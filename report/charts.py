"""Charts that answer to hovering and zooming, readable on a light and on a dark page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    BasicTicker,
    BasicTickFormatter,
    BoxZoomTool,
    ColumnDataSource,
    HoverTool,
    LinearAxis,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

Points = Sequence[tuple[float, float | None]]

COLOURS = ("#3b82c4", "#e8871e", "#2f9e63", "#9a6fd0", "#d6455d", "#8a8a8a")
INK, LINE = "#7d8590", "#8a8a8a"  # read on white and on near black
HEIGHT = 280  # pixels
POINTS = 1000  # of a line at most: a page of a hundred thousand steps stays below 2 MB
FEW = 12  # classes whose confusion matrix has room for numbers


def thinned(kept: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """So many of these indices at most, evenly, the first and the last among them."""
    return kept if len(kept) <= most else kept[np.linspace(0, len(kept) - 1, most).round().astype(int)]


def lines(title: str, series: Mapping[str, Points], xlabel: str, ylabel: str, **options: Any) -> Any:
    """Lines through points; the names of several stand in the corner with the fewest points.

    Args:
        title: above the chart.
        series: (x, y) points by name; a y that is None or no number is left out, and so are some of very many points.
        xlabel, ylabel: of the axes.
        **options: of the figure, as x_axis_type="log".
    """
    chart = blank(title, xlabel, ylabel, **options)
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        kept = [(x, y) for x, y in points if y is not None and math.isfinite(y)]
        if not kept:
            continue
        x, y = zip(*(kept[i] for i in thinned(np.arange(len(kept)), POINTS)), strict=True)
        source = ColumnDataSource({"x": x, "y": y, "name": [name] * len(x)})
        label = {"legend_label": name} if len(series) > 1 else {}
        chart.line("x", "y", source=source, color=colour, line_width=2, **label)
        dots = chart.scatter("x", "y", source=source, color=colour, size=5 if len(x) < 100 else 2)
        chart.add_tools(
            HoverTool(renderers=[dots], tooltips=[("", "@name"), (xlabel, "@x{0.[000]}"), (ylabel, "@y{0.[0000]}")])
        )
    if all(float(x).is_integer() for points in series.values() for x, _ in points) and "x_axis_type" not in options:
        chart.xaxis.ticker = BasicTicker(min_interval=1, num_minor_ticks=0)  # no epoch 1.5
    if len(series) > 1:
        style_legend(chart, _emptiest_corner([point for points in series.values() for point in points]))
    return chart


def _emptiest_corner(points: Points) -> str:
    kept = np.array([point for point in points if point[1] is not None and math.isfinite(point[1])], dtype=float)
    if not len(kept):
        return "bottom_right"
    low, high = kept.min(axis=0), kept.max(axis=0)
    x, y = ((kept - low) / np.where(high > low, high - low, 1)).T
    beside = {"right": x > 0.5, "left": x < 0.5}
    across = {"bottom": y < 0.4, "top": y > 0.6}
    corners = {f"{v}_{h}": int((across[v] & beside[h]).sum()) for v in across for h in beside}
    return min(corners, key=lambda name: corners[name])


def matrix(title: str, counts: NDArray[np.int64], names: Sequence[str]) -> Any:
    """A confusion matrix, its classes in an order that puts what is confused side by side.

    Args:
        title: above the chart.
        counts: int64 [classes, classes]: images by class (row) and predicted class (column).
        names: of the classes.
    """
    order = similar_side_by_side(counts)
    shown, labels = counts[np.ix_(order, order)], [names[i] for i in order]
    rows, columns = np.nonzero(shown)
    totals = np.maximum(shown.sum(axis=1), 1)
    share = 100 * shown[rows, columns] / totals[rows]
    source = ColumnDataSource(
        {
            "x": columns,
            "y": rows,
            "class": [labels[i] for i in rows],
            "predicted": [labels[i] for i in columns],
            "images": shown[rows, columns],
            "share": share,
            "alpha": 0.15 + 0.85 * share / 100,  # more is further from the page, be that white or near black
            "ink": np.where(share > 45, "#ffffff", INK),
        }
    )
    few = len(names) <= 30
    ends = (-0.5, len(names) - 0.5)  # classes that nothing is taken for have their column too
    chart = blank(title, "predicted", "class", height=560, x_range=ends, y_range=ends[::-1])
    chart.max_width = 640
    cells = chart.rect("x", "y", 1, 1, source=source, fill_color=COLOURS[0], fill_alpha="alpha", line_color=None)
    tips = [("class", "@class"), ("predicted", "@predicted"), ("images", "@images (@share{0.0} % of the class)")]
    chart.add_tools(HoverTool(renderers=[cells], tooltips=tips))
    if len(names) <= FEW:
        chart.text(
            "x", "y", "images", source=source, text_color="ink", text_align="center", text_baseline="middle",
            text_font_size="12px",
        )  # fmt: skip
    for axis in (chart.xaxis, chart.yaxis):
        axis.ticker = list(range(len(names))) if few else []
        axis.major_label_overrides = dict(enumerate(map(_shortened, labels))) if few else {}
    chart.xaxis.major_label_orientation = 0.9
    return chart


def similar_side_by_side(counts: NDArray[np.int64]) -> list[int]:
    """An order of the classes in which those that are taken for each other stand together.

    By the Fiedler vector of the graph of confusions (Atkins, Boman, Hendrickson: A spectral algorithm for seriation and
    the consecutive ones problem, 1998).
    """
    weights = counts + counts.T + 1e-3 * (counts.sum() + 1) / counts.size  # the small part joins what is not connected
    np.fill_diagonal(weights, 0)
    laplacian = np.diag(weights.sum(axis=1)) - weights
    _, vectors = np.linalg.eigh(laplacian)
    return [int(i) for i in np.argsort(vectors[:, min(1, len(counts) - 1)], kind="stable")]


def calibration(title: str, confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Any:
    """How often a prediction is right, by the probability that the model gives it, in tenths.

    Args:
        title: above the chart.
        confidence: float64 [n], probability of the predicted class.
        correct: bool [n].
    """
    tenths = np.minimum((10 * confidence).astype(int), 9)
    counts = np.bincount(tenths, minlength=10)
    right = np.bincount(tenths, weights=correct, minlength=10) / np.maximum(counts, 1)
    filled = counts > 0
    chart = blank(title, "confidence, %", "right, %", x_range=(0, 100), y_range=(0, 115))
    source = ColumnDataSource({"x": 5 + 10 * np.arange(10)[filled], "y": 100 * right[filled], "images": counts[filled]})
    chart.line([0, 100], [0, 100], color=LINE, line_dash="dashed")
    bars = chart.vbar("x", 9, "y", source=source, color=COLOURS[0], alpha=0.8)
    chart.text("x", "y", "images", source=source, text_color=INK, text_align="center", text_baseline="bottom",
               text_font_size="11px", y_offset=-5)  # fmt: skip
    chart.add_tools(HoverTool(renderers=[bars], tooltips=[("right", "@y{0.0} %"), ("images", "@images")]))
    return chart


def blank(title: str, xlabel: str, ylabel: str, *, height: int = HEIGHT, **options: Any) -> Any:
    """A chart with axes and nothing in it.

    Args:
        title: above the chart.
        xlabel, ylabel: of the axes.
        height: in pixels.
        **options: of the figure, as x_axis_type="log".
    """
    zoom = BoxZoomTool()
    chart = figure(
        title=title,
        x_axis_label=xlabel,
        y_axis_label=ylabel,
        height=height,
        sizing_mode="stretch_width",
        tools=[zoom, WheelZoomTool(), ResetTool()],
        active_drag=None,  # on a phone dragging scrolls the page
        active_scroll=None,
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        output_backend="svg",
        **options,
    )
    chart.toolbar.logo = None
    chart.toolbar.autohide = True
    chart.title.text_color = INK  # type: ignore[union-attr]
    for axis in (chart.xaxis, chart.yaxis):
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_label_text_font_style = "normal"
        axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = LINE
    if isinstance(chart.yaxis[0], LinearAxis):  # names have no number to format
        chart.yaxis.formatter = BasicTickFormatter(power_limit_low=-6)  # learning rates as 0.004
    chart.grid.grid_line_color, chart.grid.grid_line_alpha = LINE, 0.25
    return chart


def _shortened(name: str, limit: int = 18) -> str:
    """A name that leaves room for the chart on a phone; the whole one is shown on hovering."""
    return name if len(name) <= limit else name[: limit - 1] + "…"


def style_legend(chart: Any, location: str) -> None:
    """Puts the legend of a chart to a place, readable on any page. A click on a name hides its line."""
    chart.legend.location = location
    chart.legend.background_fill_alpha = 0
    chart.legend.border_line_alpha = 0
    chart.legend.label_text_color = INK
    chart.legend.click_policy = "hide"
