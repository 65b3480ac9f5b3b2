"""The report of a training run, from the files in its folder."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from feedline.output import counted, duration
from feedline.report import charts
from feedline.report.lr_range import range_sections
from feedline.report.page import Page, Section
from feedline.report.settings import machine, settings_section
from feedline.training.best import measure, value

USED_TEST = "max_lr_from.json"  # in the folder of a run: the LR range test that its rate is from


def run_page(
    folder: Path,
    sections: Sequence[Section] = (),
    *,
    rates: charts.Points,
    command: str = "",
    recipe: Mapping[str, Any] | None = None,
    ended: str = "",
) -> Page:
    """The page of a run: how it went, and what it was.

    Args:
        folder: of the run, with run.json, log.jsonl and metrics.csv, and summary.json if it is complete.
        sections: on the predictions, shown behind the curves.
        rates: (epoch, learning rate) of its steps, or of some.
        command: that started or resumed the run.
        recipe: the values of its recipe, to say what differs; None if they are not known.
        ended: why the run is not complete; empty if it is.
    """
    about = read_json(folder / "run.json") | read_json(folder / "summary.json")
    rows, log = read_csv(folder / "metrics.csv"), list(read_log(folder / "log.jsonl"))
    dataset, where = about.get("dataset", {}), machine(about.get("hardware", {}))
    return Page(
        title=f"{folder.resolve().name}: {dataset.get('name', 'a dataset')}, recipe {about.get('recipe', '?')}",
        subtitle=f"{about.get('precision', '')}, store {about.get('store')}, engine {about.get('engine')}, on {where}",
        figures=_figures(about, rows),
        sections=[
            *([Section("Not complete", ended)] if ended else _early_end(about)),
            _curves(rows, rates),
            _speed(log),
            *range_sections(read_json(folder / USED_TEST), about.get("max_lr_from", "")),
            *sections,
            settings_section(about, command, recipe),
        ],
    )


def _early_end(about: Mapping[str, Any]) -> list[Section]:
    end = about.get("ended", {})
    return [Section("Ended early", f"This run ended {end['text']}.")] if end.get("by") == "patience" else []


def _figures(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    best = about.get("best") or _best(about, rows)
    shown: list[tuple[str, str]] = []
    if best:
        shown.append((f"val top-1, epoch {best['epoch']}", f"{best['val_top1']:.2f} %"))
        more = {"val top-5": "val_top5", "balanced": "val_balanced", "macro F1": "val_macro_f1"}
        shown += [(name, f"{best[key]:.2f} %") for name, key in more.items() if best.get(key) is not None]
    if reached := about.get("target_reached"):
        shown.append((f"to {about['target']:g} % top-1", duration(reached["seconds"])))
    if "images_per_s" in about:
        shown += [("images/s", f"{about['images_per_s']:,.0f}"), ("stall", f"{100 * about['stall']:.1f} %")]
        shown.append(("training", duration(about["seconds"]["train"])))
    return shown or [("so far", counted(len(rows), "epoch"))]


def _best(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the best epoch of a run that is not complete."""
    by = measure(about.get("config", {}).get("class_weights", ""))
    return max((row for row in rows if row.get("val_top1") is not None), key=lambda row: value(row, by), default=None)


def _curves(rows: Sequence[Mapping[str, Any]], rates: charts.Points) -> Section:
    def column(name: str) -> list[tuple[float, float | None]]:
        return [(row["epoch"], row.get(name)) for row in rows]

    accuracy = {"train, as optimised": column("train_top1"), "val": column("val_top1")}
    loss = {"train, as optimised": column("train_loss"), "val": column("val_loss")}
    return Section(
        "Curves",
        "" if rows else "No epoch was finished.",
        charts=[
            *([charts.lines("top-1", accuracy, "epoch", "top-1, %")] if rows else []),
            *([charts.lines("loss", loss, "epoch", "loss")] if rows else []),
            *([charts.lines("learning rate", {"learning rate": rates}, "epoch", "learning rate")] if rates else []),
        ],
    )


def _speed(log: Sequence[Mapping[str, Any]]) -> Section:
    speed = [(record["epoch"], record.get("images_per_s_last")) for record in log]
    stall = [(record["epoch"], 100 * record["stall"]) for record in log]
    if not log:
        return Section("Speed", "No step was logged.")
    return Section(
        "Speed",
        "Images per second of the steps before each point, and the share of the time so far in which the model waited "
        "for the loader.",
        charts=[
            charts.lines("images/s", {"images/s": speed}, "epoch", "images/s"),
            charts.lines("stall", {"stall": stall}, "epoch", "stall, %"),
        ],
    )


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file; nothing if it is missing."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def read_csv(path: Path) -> list[dict[str, float | None]]:
    """The rows of a file of numbers; an empty cell is None."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: float(v) if v else None for k, v in row.items()} for row in csv.DictReader(file)]


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """The steps in log.jsonl; the rows of finished epochs among them are left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a run that was killed, or is writing it now
            return
        if "val_top1" not in record:
            yield record
