"""The page of several training runs side by side."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from feedline.output import duration
from feedline.report.comparison_curves import COLOURS, curves_section
from feedline.report.page import NONE, Page, Section, Table, facts, swatch
from feedline.training.best import NAMES, value
from feedline.training.recorded import RecordedRun

Rows = Sequence[Sequence[str]]
TITLED = 3  # names in the title


def comparison_page(
    runs: Sequence[RecordedRun],
    streams: Sequence[Sequence[str]],
    gaps: Sequence[str],
    differences: Rows,
    shared: Sequence[tuple[str, str]],
) -> Page:
    """The page.

    Args:
        runs: two to ten.
        streams: for each run but the first, what is the same in what it and the first one were fed, or what differs.
        gaps: of which steps a log has no certificate.
        differences: settings that differ: a name, and a value for each run whose settings are known.
        shared: settings that do not: name and value.
    """
    names = short_names([run.name for run in runs])
    return Page(
        title=f"{len(runs)} runs: {', '.join(names[:TITLED])}{', …' if len(names) > TITLED else ''}",
        subtitle=_images(runs),
        figures=_figures(runs, names),
        sections=[
            Section("Results", tables=[_results(runs, names)]),
            curves_section(runs, names),
            _differing(runs, names, differences),
            _fed(names, streams, gaps),
            *([Section("Settings that all share", tables=[facts(shared)], folded=True)] if shared else []),
        ],
    )


def short_names(names: Sequence[str]) -> list[str]:
    """What runs are called: the ends of their paths that tell them apart; a run that is there twice gets a number."""
    paths = [Path(name).resolve().parts for name in names]
    paths = [parts[:-1] if parts[-1] == "log.jsonl" else parts for parts in paths]
    ends = [_end(parts, set(paths) - {parts}) for parts in paths]
    seen: Counter[str] = Counter()
    numbered = []
    for end in ends:
        seen[end] += 1
        numbered.append(f"{end} ({seen[end]})" if seen[end] > 1 else end)
    return numbered


def _end(path: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> str:
    """The shortest end of a path that no other path has."""
    lengths = (n for n in range(1, len(path)) if all(other[-n:] != path[-n:] for other in others))
    return PurePath(*path[-next(lengths, len(path)) :]).as_posix()


def _evaluated(runs: Sequence[RecordedRun]) -> list[str]:
    """What the runs were evaluated on, each once."""
    parts = {}
    for run in runs:
        dataset, split, classes = run.about.get("dataset", {}), run.config.get("split"), run.config.get("classes")
        of = f", {classes} classes" if classes else ""
        parts[dataset.get("fingerprint"), split, classes] = f"{dataset.get('name')} {split}{of}"
    return list(parts.values())


def _images(runs: Sequence[RecordedRun]) -> str:
    if not (parts := _evaluated([run for run in runs if run.about])):
        return ""
    if len(parts) == 1:
        return f"On {parts[0]}."
    return f"On {'; '.join(parts)}: accuracy and loss on other images do not compare."


def _figures(runs: Sequence[RecordedRun], names: Sequence[str]) -> list[tuple[str, str]]:
    """Who is best at what."""
    shown = []
    ranked = [(run, name) for run, name in zip(runs, names, strict=True) if run.best]
    if len(_evaluated(runs)) == 1 and ranked:
        measures = {run.best_by for run, _ in ranked}
        by, among = (measures.pop(), "") if len(measures) == 1 else ("val_top1", " of the best epochs")
        run, name = max(ranked, key=lambda pair: value(pair[0].best, by))
        shown.append((f"best {NAMES[by]}{among}: {name}, epoch {run.best['epoch']}", f"{value(run.best, by):.2f} %"))
    if speeds := [(run.epochs[-1].get("images_per_s") or 0, i) for i, run in enumerate(runs) if run.epochs]:
        speed, i = max(speeds, key=lambda pair: pair[0])
        shown.append((f"most images/s: {names[i]}", f"{speed:,.0f}"))
    return shown


def _results(runs: Sequence[RecordedRun], names: Sequence[str]) -> Table:
    best = [run.best for run in runs]
    uneven = any(row.get("val_balanced") is not None for row in best)  # classes differ in size: top-1 alone misleads
    balanced = ("its balanced",) if uneven else ()
    header = (
        "run",
        "top-1, best epoch",
        "in epoch",
        "its top-5",
        *balanced,
        "last top-1",
        "images/s",
        "stall",
        "time",
        "epochs",
    )
    rows = []
    for run, name, top, colour in zip(runs, names, best, COLOURS, strict=False):
        last = run.epochs[-1] if run.epochs else {}
        seconds = last.get("seconds")
        rows.append(
            (
                swatch(colour, name),
                _percent(top, "val_top1"),
                top.get("epoch", NONE),
                _percent(top, "val_top5"),
                *(_percent(top, "val_balanced") for _ in balanced),
                _percent(last, "val_top1"),
                NONE if last.get("images_per_s") is None else f"{last['images_per_s']:,.0f}",
                NONE if last.get("stall") is None else f"{100 * last['stall']:.1f} %",
                NONE if seconds is None else _unbroken(duration(seconds)),
                len(run.epochs),
                _unbroken(_state(run)),
            )
        )
    return Table((*header, ""), rows)


def _percent(row: Mapping[str, Any], key: str) -> str:
    return NONE if row.get(key) is None else f"{row[key]:.2f} %"


def _state(run: RecordedRun) -> str:
    """Whether a run is finished."""
    if run.results or not run.about:
        return "" if run.results else "settings not known"
    return f"at step {run.steps:,} of {run.about.get('steps', 0):,}"


def _unbroken(text: str) -> str:
    """Text that stays on a line; a table is scrolled to its end."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _fed(names: Sequence[str], streams: Sequence[Sequence[str]], gaps: Sequence[str]) -> Section:
    """Where what the runs were fed parts."""
    rows = [
        (name, lines[0], " ".join(line.removeprefix("why: ") for line in lines[1:]))
        for name, lines in zip(names[1:], streams, strict=True)
    ]
    text = " ".join([f"Each compared with {names[0]}.", *(f"{line}." for line in gaps)])
    return Section("What they were fed", text, tables=[Table(("run", "images", ""), rows)])


def _differing(runs: Sequence[RecordedRun], names: Sequence[str], differences: Rows) -> Section:
    """The settings that differ."""
    known = [name for run, name in zip(runs, names, strict=True) if run.about]
    unknown = [name for name in names if name not in known]
    text = f"Not known of {', '.join(unknown)}: there is no run.json beside the log." if unknown else ""
    if len(known) > 1 and not differences:
        text += " No setting differs."
    tables = [Table(("setting", *known), differences, mixed=True)] if differences else []
    return Section("Settings that differ", text, tables=tables)
