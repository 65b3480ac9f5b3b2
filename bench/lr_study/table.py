"""What the suggestions of the measured curves lead to."""

import functools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from feedline.training.lr_range import SMOOTHED_OVER, smooth, suggest

FACTORS = tuple(2.0 ** (k / 4) for k in range(-16, 21))  # common factors that are tried: 1/16 to 32
KINDS = {"epoch": "one epoch", "full": "all steps"}
Points = Sequence[tuple[float, float]]  # (learning rate, top-1 in percent), sorted
Curves = Mapping[str, Mapping[str, Any]]  # the range tests of a case


def suggestions(curves: Curves, kind: str = "epoch") -> dict[str, list[float]]:
    """The suggested rates of a case, by rule: one per range test.

    Args:
        curves: the range tests of the case.
        kind: of the tests: `epoch` or `full`.
    """
    found: dict[str, list[float]] = {}
    for key, curve in curves.items():
        if key.startswith(kind):
            smoothed = smooth(curve["loss"], curve["steps"] / SMOOTHED_OVER)
            for rule, rate in suggest(curve["lr"], smoothed).items():
                found.setdefault(rule, []).append(rate)
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
        for kind, words in KINDS.items():
            for rule, rates in suggestions(content["sweeps"][case], kind).items():
                found.setdefault(f"{rule}, {words}", {})[case] = Judged(rates, points(trainings))
    return found


def tables(content: Mapping[str, Any]) -> str:
    """Markdown: the trainings, each rule in each case, and the rules over all cases."""
    judged = judge(content)
    parts = [_trainings(content["trainings"]), _cases(judged), _rules(judged)]
    return "\n\n".join(map(functools.partial(str.join, "\n"), parts))


def _header(*columns: str) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _trainings(trainings: Mapping[str, Curves]) -> list[str]:
    lines = _header("case", "best rate", "its top-1", "top-1 by rate")
    for case, results in trainings.items():
        grid = points(results)
        best = max(top1 for _, top1 in grid)
        each = ", ".join(f"{rate:.2g}: {top1:.1f}" for rate, top1 in grid)
        lines.append(_row(case, f"{best_rate(grid):.2g}", f"{best:.1f}", each))
    return lines


def _cases(judged: Mapping[str, Mapping[str, Judged]]) -> list[str]:
    rules = list(judged)
    lines = _header("case", *rules)
    for case in next(iter(judged.values()), {}):
        cells = [
            f"{judged[rule][case].rate:.2g}; x {judged[rule][case].factor:.2g}; -{judged[rule][case].lost():.1f}"
            if case in judged[rule]
            else ""
            for rule in rules
        ]
        lines.append(_row(case, *cells))
    return lines


def _rules(judged: Mapping[str, Mapping[str, Judged]]) -> list[str]:
    lines = _header(
        "rule", "cases", "best factor (spread)", "lost as it is (worst)", "factor", "lost with it", "left out (worst)"
    )
    for rule, by_case in judged.items():
        each = list(by_case.values())
        factor, held_out = common_factor(each), left_out(each)
        logs = [math.log2(case.factor) for case in each]
        spread = f" (x/÷ {2 ** statistics.stdev(logs):.2g})" if len(logs) > 1 else ""
        lost = [case.lost() for case in each]
        lines.append(
            _row(
                rule,
                str(len(each)),
                f"{2 ** statistics.fmean(logs):.2g}{spread}",
                f"{statistics.fmean(lost):.1f} ({max(lost):.1f})",
                f"{factor:.2g}",
                f"{statistics.fmean(case.lost(factor) for case in each):.1f}",
                f"{statistics.fmean(held_out):.1f} ({max(held_out):.1f})",
            )
        )
    return lines
