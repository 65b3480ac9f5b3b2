"""The report of an LR range test: its curve with the rates that it suggests."""

from collections.abc import Mapping
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, Range1d

from feedline.report import charts
from feedline.report.page import Page, Section, Table
from feedline.report.settings import settings_section
from feedline.training.lr_curve import nearest, shown_losses

_BLUE, _ORANGE, _GREEN, _PURPLE, _RED, _ = charts.COLOURS
MARKS = {  # as lr_range.png has them
    "scaled": ("diamond", _PURPLE),
    "minimum": ("inverted_triangle", _ORANGE),
    "steepest": ("circle", _GREEN),
    "valley": ("square", _RED),
}


def range_page(result: Mapping[str, Any], title: str, meaning: Mapping[str, str]) -> Page:
    """The page of a test.

    Args:
        result: the content of lr_range.json.
        title: of the page.
        meaning: what each suggestion is, by name.
    """
    suggestions, best = result["suggestions"], result["recommended"]
    rows = [(name, f"{lr:.3g}", meaning.get(name, "")) for name, lr in suggestions.items()]
    figures = [("recommended LR", f"{suggestions[best]:.3g}" if best else "none")]
    figures += [("steps", str(len(result["lr"]))), ("passes over the images", f"{result['passes']:g}")]
    text = f"Ended because {result['stopped']}."
    text += f" No rate is recommended: {result['reason']}." if result["reason"] else ""
    curve = Section("Loss", text, [_curve(result)], tables=[Table(("rule", "LR", "what it is"), rows)] if rows else [])
    subtitle = f"{result['precision']}, batches of {result['batch_size']}"
    return Page(title, subtitle, figures, [curve, settings_section(result, result["command"])])


def range_sections(result: Mapping[str, Any], path: str) -> list[Section]:
    """The section on the test that the rate of a run is from; none without a test.

    Args:
        result: the content of lr_range.json; empty if there is none.
        path: where the file was.
    """
    if not result:
        return []
    rule = result["recommended"]
    text = f"The maximum is {result['suggestions'][rule]:.3g}, {rule} of {path or 'an LR range test'}."
    return [Section("Where the learning rate is from", text, [_curve(result)])]


def _curve(result: Mapping[str, Any]) -> Any:
    """Raw and smoothed loss over the learning rate, with the suggestions marked."""
    lr, smoothed = result["lr"], result["smoothed"]
    bottom, top = shown_losses(result)
    chart = charts.blank("LR range test", "learning rate", "training loss", height=360, x_axis_type="log")
    chart.y_range = Range1d(start=bottom, end=top)
    source = ColumnDataSource({"lr": lr, "loss": result["loss"], "smoothed": smoothed})
    chart.line("lr", "loss", source=source, color=charts.LINE, line_width=1, alpha=0.7, legend_label="loss")
    chart.line("lr", "smoothed", source=source, color=_BLUE, line_width=2, legend_label="smoothed")
    dots = chart.scatter("lr", "smoothed", source=source, color=_BLUE, size=3)
    tips = [("LR", "@lr{0.00e+0}"), ("loss", "@loss{0.000}"), ("smoothed", "@smoothed{0.000}")]
    chart.add_tools(HoverTool(renderers=[dots], tooltips=tips))
    for name, rate in result["suggestions"].items():
        height = min(smoothed[nearest(lr, rate)], top - 0.06 * (top - bottom))  # also where the loss is above
        note = ", recommended" if name == result["recommended"] else ""
        mark = ColumnDataSource({"x": [rate], "y": [height], "name": [f"{name}{note}"], "lr": [f"{rate:.3g}"]})
        shape, colour = MARKS[name]
        shown = chart.scatter(
            "x", "y", source=mark, marker=shape, color=colour, size=12, legend_label=f"{name}: {rate:.3g}{note}"
        )
        chart.add_tools(HoverTool(renderers=[shown], tooltips=[("", "@name"), ("LR", "@lr")]))
    charts.style_legend(chart, "bottom_left")  # the loss is high at low rates; a legend below hides the chart
    return chart
