"""The table of a series, on the console and on a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common import markdown
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import write_text

COLUMNS = ("variant", "top-1, last epoch", "best", "difference", "train", "seconds", "images/s", "runs")


def cells(row: Mapping[str, Any]) -> list[str]:
    """A variant's cells, in the order of `COLUMNS`."""
    complete = [run for run in row["runs"] if "problem" not in run]
    failed = [run for run in row["runs"] if "problem" in run]
    runs = ", ".join([str(len(complete))] * bool(complete) + [f"seed {r['seed']}: {r['problem']}" for r in failed])
    difference = ""
    if row["difference"] is not None:
        difference = f"{row['difference']:+.2f}" + _spread(row["standard_error"])
    return [
        row["name"],
        _figure(row, "final_top1", 2),
        _figure(row, "best_top1", 2),
        difference,
        _figure(row, "train_top1", 2),
        _figure(row, "seconds", 0, spread=False),
        _figure(row, "images_per_s", 0, spread=False),
        runs,
    ]


def _figure(row: Mapping[str, Any], name: str, digits: int, *, spread: bool = True) -> str:
    mean = row["mean"].get(name)
    if mean is None:
        return ""
    return f"{mean:,.{digits}f}" + (_spread(row["sd"].get(name)) if spread else "")


def _spread(value: float | None) -> str:
    return "" if value is None else f" ± {value:.2f}"


def print_table(content: Mapping[str, Any]) -> None:
    """Prints the variants that have runs."""
    rows = [list(COLUMNS), *(cells(row) for row in content["results"] if row["runs"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    for row in rows:
        text = [cell.ljust(width) if i in (0, 7) else cell.rjust(width) for i, (cell, width) in _columns(row, widths)]
        print("  ".join(text).rstrip())


def _columns(row: Sequence[str], widths: Sequence[int]) -> "enumerate[tuple[str, int]]":
    return enumerate(zip(row, widths, strict=True))


def section(content: Mapping[str, Any], command: str) -> str:
    """The series as Markdown: its settings, the machine, and a row for every variant.

    Args:
        content: of variants.json.
        command: that made it.
    """
    rows = []
    for row in content["results"]:
        name, *figures = (cell.replace("|", "\\|") for cell in cells(row))
        rows.append([name, _changes(row), *figures])
    return f"{_about(content, command)}\n\n{markdown(['variant', 'what it changes', *COLUMNS[1:]], rows)}"


def _changes(row: Mapping[str, Any]) -> str:
    changes = ", ".join(f"`{key} = {_toml(value)}`" for key, value in row["changes"].items())
    return "; ".join(filter(None, (row["note"], changes))).replace("|", "\\|")


def _toml(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _about(content: Mapping[str, Any], command: str) -> str:
    """What the rows have in common."""
    where, images = content["hardware"], content["images"]
    settings = ", ".join(f"`{key} = {_toml(value)}`" for key, value in content["base"].items())
    machine = where.get("gpu", f"{where['torch_threads']} of {where['cores']} cores of {where['cpu']}")
    return (
        f"{content['dataset']['name']}, {images['train']:,} train and {images['val']:,} val images. All: {settings}. "
        f"Top-1 in percent, mean ± standard deviation over the seeds; the difference is to the first row's last epoch, "
        f"± its standard error. Seconds are of training, without evaluation. {machine}; torch "
        f"{content['versions']['torch']}; commit {', '.join(content['commits']) or 'unknown'}: `{command}`"
    )


def put_between_marks(page: Path, name: str, text: str) -> None:
    """Replaces what lies between the two marks of a page.

    Args:
        page: a Markdown file.
        name: of the marks: `<!-- variants: name -->` and `<!-- end of variants: name -->`.
        text: goes between them.

    Raises:
        InputError: if the page does not have each mark once, in this order.
    """
    start, end = f"<!-- variants: {name} -->", f"<!-- end of variants: {name} -->"
    try:
        content = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"`markdown={page}`: cannot be read ({error})") from error
    if content.count(start) != 1 or content.count(end) != 1 or content.index(start) > content.index(end):
        raise InputError(f"`markdown={page}`: needs the lines '{start}' and '{end}' where the table belongs")
    before, rest = content.split(start)
    after = rest.split(end)[1]
    write_text(page, f"{before}{start}\n{text}\n{end}{after}")
