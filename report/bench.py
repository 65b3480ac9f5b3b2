"""The report of a benchmark: bars of images/s."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool, NumeralTickFormatter
from bokeh.models.annotations import TeeHead, Whisker

from feedline.output import speed
from feedline.report import charts
from feedline.report.page import Page, Section, Table, facts
from feedline.report.settings import machine, settings_section

COLOURS = {"model": charts.COLOURS[2], "together": charts.COLOURS[1]}


def bench_page(content: Mapping[str, Any]) -> Page:
    """The page of a benchmark, whose bench.json holds `content`."""
    results = content["results"]
    speeds = {result["name"]: result["images_per_s"] for result in results}
    together = next(result for result in results if result["name"] == "together")
    figures = [("images/s together", f"{speeds['together']:,.0f}"), ("the model alone", f"{speeds['model']:,.0f}")]
    figures.append((f"loader {content['together_with']}", f"{speeds['loader ' + content['together_with']]:,.0f}"))
    if together["stall"] is not None:
        figures.append(("stall", f"{100 * together['stall']:.1f} %"))
    name = content["dataset"]["name"]
    subtitle = (
        f"batches of {content['config']['batch_size']}, {content['precision']}, on {machine(content['hardware'])}"
    )
    memory = facts((f"peak memory, {n.split('_')[0]}", f"{mib:,.0f} MiB") for n, mib in content["memory"].items())
    speed = Section("Speed", content["verdict"], [_bars(results)], tables=[_table(results), memory])
    return Page(f"Benchmark: {name}", subtitle, figures, [speed, settings_section(content, content["command"])])


def _bars(results: Sequence[Mapping[str, Any]]) -> Any:
    """Medians with the range of the rounds, on a logarithmic scale from below the lowest."""
    names = [result["name"] for result in results]
    left = min(result["lowest"] for result in results) / 2
    source = ColumnDataSource(
        {
            "name": names,
            "median": [result["images_per_s"] for result in results],
            "lowest": [result["lowest"] for result in results],
            "highest": [result["highest"] for result in results],
            "colour": [COLOURS.get(name, charts.COLOURS[0]) for name in names],
        }
    )
    right = 1.3 * max(result["highest"] for result in results)
    chart = charts.blank(
        "images/s, median and range", "images/s", "", height=80 + 40 * len(names), x_axis_type="log",
        x_range=(left, right), y_range=names[::-1],
    )  # fmt: skip
    bars = chart.hbar(y="name", right="median", left=left, height=0.66, source=source, color="colour")
    chart.xaxis.formatter = NumeralTickFormatter(format="0,0")
    head = TeeHead(size=8, line_color=charts.INK)
    whisker = Whisker(base="name", lower="lowest", upper="highest", dimension="width", source=source)
    whisker.line_color = charts.INK
    whisker.lower_head = whisker.upper_head = head
    chart.add_layout(whisker)
    tips = [("", "@name"), ("median", "@median{0,0}"), ("range", "@lowest{0,0} to @highest{0,0}")]
    chart.add_tools(HoverTool(renderers=[bars], tooltips=tips))
    return chart


def _table(results: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        (
            result["name"],
            *(speed(result[key]) for key in ("images_per_s", "lowest", "highest")),
            f"{result['cpu_us_per_image']:,.1f}",
            "" if result["stall"] is None else f"{100 * result['stall']:.1f} %",
        )
        for result in results
    ]
    return Table(("", "images/s", "lowest", "highest", "CPU us/image", "stall"), rows)
