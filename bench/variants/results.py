"""What came of a series: mean and spread of each variant, and its difference to the first."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bench.variants.runs import Run
from bench.variants.series import Series, Variant

FIGURES = ("final_top1", "best_top1", "train_top1", "seconds", "images_per_s")


def collect(series: Series, runs: Sequence[Run]) -> dict[str, Any]:
    """The results of the runs that have ended.

    Args:
        series: what was run.
        runs: all of its runs.

    Returns:
        The series' settings, the machine, and `results`: a row per variant. A row has `runs` (top-1 in percent; final
        is that of the last epoch, best that of the best one; seconds of training without evaluation), their `mean`
        and `sd` (sample standard deviation), and `difference`: of the mean of `final_top1` to that of the first
        variant, in points, with its `standard_error`. With fewer than two runs on a side, `standard_error` is null.
    """
    rows = [_row(variant, [run for run in runs if run.variant is variant]) for variant in series.variants]
    for row in rows:
        row.update(_compared(row["runs"], rows[0]["runs"]))
    machines = [summary for run in runs if (summary := run.summary()) is not None]
    first = machines[0] if machines else {}
    return {
        "series": series.name,
        "base": spelled(series.base),
        "seeds": list(series.seeds),
        "commits": sorted({commit for run in runs if run.summary() and (commit := run.commit())}),
        "hardware": first.get("hardware"),
        "versions": first.get("versions"),
        "dataset": first.get("dataset"),
        "images": first.get("images"),
        "results": rows,
    }


def spelled(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with their keys as recipes spell them."""
    return {name.replace("_", "-"): value for name, value in settings.items()}


def outcome(run: Run) -> dict[str, Any] | None:
    """The figures of a run, or its problem; None if it has not ended."""
    if (summary := run.summary()) is not None:
        best, last = summary["best"], summary["last"]
        return {
            "seed": run.seed,
            "final_top1": last["val_top1"],
            "best_top1": best["val_top1"],
            "best_epoch": best["epoch"],
            "train_top1": last.get("train_top1"),
            "seconds": summary["seconds"]["train"],
            "images_per_s": summary["images_per_s"],
        }
    return {"seed": run.seed, "problem": problem} if (problem := run.problem()) else None


def _row(variant: Variant, runs: Sequence[Run]) -> dict[str, Any]:
    ended = [result for run in runs if (result := outcome(run)) is not None]
    columns = {name: _values(ended, name) for name in FIGURES}
    return {
        "name": variant.name,
        "note": variant.note,
        "recipe": variant.recipe,
        "changes": spelled(variant.changes),
        "settings": spelled(variant.settings),
        "runs": ended,
        "mean": {name: round(statistics.fmean(values), 3) for name, values in columns.items() if values},
        "sd": {name: round(statistics.stdev(values), 3) for name, values in columns.items() if len(values) > 1},
    }


def _values(runs: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [run[name] for run in runs if run.get(name) is not None]


def _compared(runs: Sequence[Mapping[str, Any]], base: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The difference of two means and its standard error, from the two samples' variances (Welch)."""
    ours, theirs = _values(runs, "final_top1"), _values(base, "final_top1")
    if runs is base or not ours or not theirs:
        return {"difference": None, "standard_error": None}
    error = None
    if len(ours) > 1 and len(theirs) > 1:
        error = math.sqrt(sum(statistics.variance(values) / len(values) for values in (ours, theirs)))
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    return {"difference": round(difference, 3), "standard_error": None if error is None else round(error, 3)}
