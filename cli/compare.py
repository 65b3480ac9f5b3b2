"""feedline compare: did runs see the same images, with the same windows and augmentations, at every step?"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from feedline.cli.claim import Claims
from feedline.cli.compare_settings import differences, settings, shared
from feedline.cli.compare_streams import Verdict, compare_streams, unlogged
from feedline.cli.results import claim_results
from feedline.output import spelled
from feedline.pipeline.errors import FeedlineError, InputError, name_errors
from feedline.program import Parser, fail
from feedline.training.recorded import RecordedRun, read_run
from feedline.use.outputs import writing_to

MOST = 10  # runs
PAGE = "compare.html"
SUFFIXES = (".html", ".htm")  # of a page


def parser() -> Parser:
    """The command line."""
    p = Parser(
        "compare",
        "Compares training runs: says whether they saw the same images in the same order, with the same "
        "windows and augmentations, or the first step at which they did not; then the settings in which they differ, "
        "and their results. Of more than two runs each is compared with the first. Runs may be unfinished, and differ "
        "in ranks, store, engine and machine.",
        epilog="exit status: 0 if all that they logged is the same, 1 if something differs, 2 if a run cannot be read",
    )
    p.add_argument("runs", nargs="+", metavar="RUN", help="a run folder, or its log.jsonl; two to ten of them")
    p.add_argument("--out", metavar="FILE.html|FOLDER", help="writes a page too: results, curves, what differs")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        The exit status: 0 if what the runs logged is the same, 1 if it differs, 2 after an error that was printed in
        one line.
    """
    args = parser().parse_args(argv)
    try:
        with name_errors(), contextlib.closing(Claims()) as claims:
            return compare(args.runs, None if args.out is None else page_of(args.out, claims))
    except FeedlineError as error:
        return fail("compare", error)


def page_of(out: str, claims: Claims) -> Path:
    """The page that `--out` names, or that in the folder that it names, which is claimed.

    Raises:
        InputError: if the folder cannot be written, or holds something else.
    """
    if not out:
        raise InputError("`out`: its value is empty")
    return Path(out) if Path(out).suffix.lower() in SUFFIXES else claim_results(claims, out, "compare") / PAGE


def compare(names: Sequence[str], page: Path | None = None) -> int:
    """Compares runs on the console, and on a page.

    Args:
        names: run folders or logs.
        page: the file to write; None for none.

    Returns:
        0 if all that they logged is the same, 1 if something differs or, with a page, cannot be compared.

    Raises:
        InputError: if there are too few or too many runs, one cannot be read, or the page cannot be written; without a
            page also if it cannot be said what a run saw.
    """
    if not 2 <= len(names) <= MOST:
        raise InputError(
            f"two to {MOST} runs can be compared; {len(names) or 'none'} of them "
            f"{'is' if len(names) == 1 else 'are'} named: "
            "give their folders, as runs/a runs/b"
        )
    first, *others = runs = [read_run(name) for name in names]
    verdicts = [_verdict(first, other, page) for other in others]
    for other, verdict in zip(others, verdicts, strict=True):
        _print_verdict(f"{other.name} and {first.name}: " if len(others) > 1 else "", verdict)
    gaps = [line for line in dict.fromkeys(unlogged(run) for run in runs if run.stream) if line]
    for line in gaps:
        print(line)
    _print_settings(runs)
    _print_results(runs)
    if page is not None:
        _write(page, runs, verdicts, gaps)
        print(f"\npage: {page}")
    return 0 if all(verdict.same for verdict in verdicts) else 1


def _verdict(a: RecordedRun, b: RecordedRun, page: Path | None) -> Verdict:
    try:
        return compare_streams(a, b)
    except InputError as error:
        if page is None:
            raise
        return Verdict(False, (f"cannot be compared: {error}",))  # there is more to see on a page


def _print_verdict(which: str, verdict: Verdict) -> None:
    for number, line in enumerate(verdict.lines):
        print(f"{which}{line}" if not which or number == 0 else f"  {line}")


def _print_settings(runs: Sequence[RecordedRun]) -> None:
    """Prints the settings that differ, if they are known of two runs."""
    known = [run for run in runs if run.about]
    if len(known) < 2:
        return
    if rows := differences([settings(run) for run in known]):
        _print_table(("settings", *(run.name for run in known)), [(spelled(name), *values) for name, *values in rows])
    else:
        print("no setting differs")


def _print_results(runs: Sequence[RecordedRun]) -> None:
    """Prints the results side by side, and which runs are not finished."""
    columns = [(run.name, _figures(run.results)) for run in runs if run.results]
    if len(columns) > 1:
        names = list(dict.fromkeys(what for _, figures in columns for what in figures))
        rows = [(what, *(figures.get(what, "-") for _, figures in columns)) for what in names]
        _print_table(("results", *(name for name, _ in columns)), rows)
    for run in runs:
        if run.about and not run.results:
            print(f"{run.name} is not finished: step {run.steps:,} of {run.about.get('steps', 0):,} is logged")


def _figures(results: Mapping[str, Any]) -> dict[str, str]:
    best, last = results["best"], results["last"]
    figures = {"val top-1, best epoch": f"{best['val_top1']:.2f} %, epoch {best['epoch']}"}
    if last["val_top1"] is not None:  # a run that was resumed with less patience may end without an evaluation
        figures["val top-1, last epoch"] = f"{last['val_top1']:.2f} %, epoch {last['epoch']}"
    figures["images/s"] = f"{results['images_per_s']:,.0f}"
    if best.get("val_balanced") is not None:  # classes differ in size: top-1 alone misleads
        figures["balanced, best epoch"] = f"{best['val_balanced']:.2f} %, epoch {best['epoch']}"
    return figures


def _print_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    print()
    for row in table:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _write(page: Path, runs: Sequence[RecordedRun], verdicts: Sequence[Verdict], gaps: Sequence[str]) -> None:
    """Writes the page; `gaps` says of which steps there is no certificate."""
    from feedline.report.comparison import comparison_page  # half a second, which a comparison in text can do without

    known = [run for run in runs if run.about]
    all_settings = [settings(run) for run in known]
    content = comparison_page(
        runs,
        streams=[verdict.lines for verdict in verdicts],
        gaps=gaps,
        differences=[(spelled(name), *values) for name, *values in differences(all_settings)] if known else [],
        shared=[(spelled(name), value) for name, value in shared(all_settings)] if known else [],
    )
    with writing_to(page):
        page.parent.mkdir(parents=True, exist_ok=True)
        content.write(page)
