"""What the suggestions of the measured curves lead to."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.common import markdown
from feedline.training.lr_curve import BLEW_UP, smoothed_over, suggest

FACTORS = tuple(2.0 ** (k / 4) for k in range(-16, 29))  # common factors that are tried: 1/16 to 128
RULES = ("scaled", "minimum", "steepest", "valley")
TITLES = {"command": "as the command", "epoch": "one epoch", "short": "60 steps", "full": "173 steps"}
Points = Sequence[tuple[float, float]]  # (learning rate, top-1 in percent), sorted
Curves = Mapping[str, Mapping[str, Any]]  # the range tests of a case


def suggestions(curves: Curves, kind: str = "epoch") -> dict[str, list[float]]:
    """The suggested rates of a case, by rule: one per range test.

    Args:
        curves: the range tests of the case.
        kind: of the tests: `command`, `epoch`, `short` or `full`. Those of `command` are read as the command does it.
    """
    found: dict[str, list[float]] = {}
    for key, curve in curves.items():
        if key.startswith(kind):
            smoothed = smoothed_over(curve["loss"], curve["steps"])
            blew_up = kind == "command" and curve["stopped"].startswith(BLEW_UP)
            rates = suggest(curve["lr"], smoothed, blew_up=blew_up)
            for rule in RULES:
                found.setdefault(rule, []).append(rates[rule])
    return found


def points(trainings: Curves) -> Points:
    """The trainings of a case: the mean top-1 over the seeds, by rate."""
    values: dict[float, list[float]] = {}
    for key, result in trainings.items():
        values.setdefault(2.0 ** int(key.split()[0].removeprefix("2^")), []).append(result["top1"])
    return [(rate, statistics.fmean(top1)) for rate, top1 in sorted(values.items())]


def top1_at(grid: Points, rate: float) -> float:
    """Top-1 at a rate, by interpolation over its logarithm; beyond the grid that of the grid's end."""
    rates, values = zip(*grid, strict=True)
    return float(np.interp(math.log(rate), np.log(rates), values))


def best_rate(grid: Points) -> float:
    """The rate with the highest top-1: the vertex of a parabola through the best of the grid and its neighbours."""
    best = max(range(len(grid)), key=lambda i: grid[i][1])
    if not 0 < best < len(grid) - 1:
        return grid[best][0]
    x, y = zip(*((math.log2(rate), top1) for rate, top1 in grid[best - 1 : best + 2]), strict=True)
    a, b, _ = np.polyfit(x, y, 2)
    return float(2.0 ** (-b / (2 * a))) if a < 0 else grid[best][0]


@dataclass(frozen=True)
class Judged:
    """A rule in a case.

    Attributes:
        rates: the suggestion of each range test.
        grid: the trainings.
    """

    rates: Sequence[float]
    grid: Points

    @property
    def rate(self) -> float:
        """The geometric mean of the suggestions."""
        return statistics.geometric_mean(self.rates)

    @property
    def factor(self) -> float:
        """The factor at which training was best."""
        return best_rate(self.grid) / self.rate

    def lost(self, factor: float = 1.0) -> float:
        """Points of top-1 lost by a factor on the suggestion, the mean over the range tests."""
        best = max(top1 for _, top1 in self.grid)
        return best - statistics.fmean(top1_at(self.grid, rate * factor) for rate in self.rates)


def common_factor(judged: Iterable[Judged]) -> float:
    """The factor, the same in all cases, with which the fewest points are lost on average."""
    each = list(judged)
    return min(FACTORS, key=lambda factor: statistics.fmean(case.lost(factor) for case in each))


def left_out(judged: Sequence[Judged]) -> list[float]:
    """Points lost in each case with the factor that is best for all other cases."""
    return [
        case.lost(common_factor(other for other in judged if other is not case)) if len(judged) > 1 else math.nan
        for case in judged
    ]


def judge(content: Mapping[str, Any]) -> dict[str, dict[str, Judged]]:
    """The rules that were measured, by name and kind of range test, in every case with trainings."""
    found: dict[str, dict[str, Judged]] = {}
    for case, trainings in content["trainings"].items():
        for kind, words in TITLES.items():
            for rule, rates in suggestions(content["sweeps"][case], kind).items():
                found.setdefault(f"{rule}, {words}", {})[case] = Judged(rates, points(trainings))
    return found


def fixed(trainings: Mapping[str, Curves]) -> dict[str, Judged]:
    """In each case the mean of the best rates of the optimizer's other cases: what one gets without a test."""
    best = {case: best_rate(points(results)) for case, results in trainings.items()}
    found = {}
    for case, results in trainings.items():
        others = [rate for name, rate in best.items() if name != case and name.split()[1] == case.split()[1]]
        if others:
            found[case] = Judged([statistics.geometric_mean(others)], points(results))
    return found


def tables(content: Mapping[str, Any]) -> str:
    """Markdown: the trainings, each rule in each case, and the rules over all cases and those of one optimizer."""
    judged, trainings = judge(content), content["trainings"]
    as_the_mode = {rule: by_case for rule, by_case in judged.items() if rule.endswith(TITLES["command"])}
    judged["a fixed rate"] = fixed(trainings)
    return "\n\n".join((_trainings(trainings), _cases(as_the_mode), _rules(judged)))


def _trainings(trainings: Mapping[str, Curves]) -> str:
    rows = []
    for case, results in trainings.items():
        grid = points(results)
        best = max(top1 for _, top1 in grid)
        each = ", ".join(f"{rate:.2g}: {top1:.1f}" for rate, top1 in grid)
        rows.append([case, f"{best_rate(grid):.2g}", f"{best:.1f}", each])
    return markdown(["case", "best rate", "its top-1", "top-1 by rate"], rows)


def _cases(judged: Mapping[str, Mapping[str, Judged]]) -> str:
    rows = []
    for case in next(iter(judged.values()), {}):
        for rule, by_case in judged.items():
            if (found := by_case.get(case)) is not None:
                each = ", ".join(f"{rate:.2g}" for rate in found.rates)
                factor = f"{found.factor:.2g} times"
                rows.append([case, rule.split(",")[0], f"{found.rate:.2g} ({each})", factor, f"{found.lost():.1f}"])
    return markdown(["case", "rule", "rate (each test)", "training was best at", "top-1 lost"], rows)


def _rules(judged: Mapping[str, Mapping[str, Judged]]) -> str:
    head = ["cases", "rule", "training was best at", "lost as it is (worst)", "factor", "lost with it (worst)"]
    rows = []
    for optimizer in ("", "sgd", "adam"):
        for rule, by_case in judged.items():
            chosen = [found for case, found in by_case.items() if optimizer in ("", case.split()[1])]
            if chosen and (not optimizer or "steps" not in rule):
                rows.append([f"{optimizer or 'all'}, {len(chosen)}", rule, *_figures(chosen)])
    return markdown([*head, "left out"], rows)


def _figures(judged: Sequence[Judged]) -> list[str]:
    factor, logs = common_factor(judged), [math.log2(case.factor) for case in judged]
    spread = f", spread {2 ** statistics.stdev(logs):.2g}" if len(logs) > 1 else ""
    as_it_is, scaled = ([case.lost(f) for case in judged] for f in (1.0, factor))
    return [
        f"{2 ** statistics.fmean(logs):.2g} times{spread}",
        f"{statistics.fmean(as_it_is):.1f} ({max(as_it_is):.1f})",
        f"{factor:.2g}",
        f"{statistics.fmean(scaled):.1f} ({max(scaled):.1f})",
        f"{statistics.fmean(left_out(judged)):.1f}",
    ]
