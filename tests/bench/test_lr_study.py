"""The study of the LR range test: what is trained, what is kept, and how rules are judged."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.lr_study import cases, table
from bench.lr_study.__main__ import main
from bench.lr_study.narrow import narrow_resnet18
from feedline import Dataset
from feedline.model import resnet18


def test_the_narrow_network_is_resnet18_with_fewer_channels() -> None:
    full, same = resnet18(10), narrow_resnet18(10, 64)
    assert [tuple(p.shape) for p in same.parameters()] == [tuple(p.shape) for p in full.parameters()]
    assert narrow_resnet18(10, 4)(torch.zeros(2, 3, 24, 24)).shape == (2, 10)


def test_a_case_is_measured_once(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(cases.SETS, "sample", {"epochs": 1})
    monkeypatch.setattr(cases, "BATCH_SIZES", (4,))
    words = ["--sample", str(dataset.root), "--only", "sample sgd", "--width", "2", "--sweep-seeds", "1"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "lr_study.json").read_text())
    name = "sample sgd 4 width 2"
    assert content["sweeps"].keys() == content["trainings"].keys() == {name}
    assert {kind: curve["steps"] for kind, curve in content["sweeps"][name].items()} == {
        "epoch 0": 22, "command 0": 100, "short 0": 60, "full 0": 173}  # fmt: skip
    rates = [2.0 ** int(key.split()[0][2:]) for key in content["trainings"][name]]
    found = table.suggestions(content["sweeps"][name])
    assert min(rates) <= found["valley"][0] < found["minimum"][0] <= max(rates)
    assert all(0 <= result["top1"] <= 100 for result in content["trainings"][name].values())
    assert "| rule |" in capsys.readouterr().out

    assert main(["--only", "smaple", "--out", str(tmp_path / "none")]) == 2
    assert "--only smaple: no such case; there are tiny-imagenet sgd 4" in capsys.readouterr().err
    monkeypatch.setattr(cases, "make_loader", None)  # to measure again would fail
    assert main([*words, "--out", str(tmp_path)]) == 0
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- variants: lr-study -->\n<!-- end of variants: lr-study -->\nz\n")
    assert main([*words, "--out", str(tmp_path), "--markdown", str(page)]) == 0
    assert page.read_text().startswith("a\n<!-- variants: lr-study -->\n| case |")
    assert main([*words, "--out", str(tmp_path), "--markdown", str(tmp_path / "none.md")]) == 2


def test_a_rate_that_diverges_counts_as_a_guess(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cases.SETS, "sample", {"epochs": 1})
    result = cases.Case(str(dataset.root), "sample", "sgd", 4, width=2).train(1e30, 0)
    assert result == {"top1": 25.0, "loss": None, "diverged": True}


def hill(best: float) -> "tuple[list[int], Any]":
    """A training whose top-1 falls by 5 points for each doubling away from 2**best; and the list of what was tried."""
    tried: list[int] = []

    def train(k: int) -> float:
        tried.append(k)
        return 80 - 5 * abs(k - best)

    return tried, train


@pytest.mark.parametrize("best", [-12, -6, -5, 0])
def test_the_search_finds_the_best_rate_of_the_grid(best: int) -> None:
    tried, train = hill(best)
    cases.search(train, low=2.0**-7, high=2.0**-3)
    assert {best - 1, best, best + 1} <= set(tried)
    assert len(tried) == len(set(tried)), "nothing twice"
    assert min(tried) <= -7
    assert max(tried) >= -3


def test_a_search_on_a_plain_ends() -> None:
    cases.search(lambda k: 5.0, low=0.5, high=2.0)
    cases.search(lambda k: float(-k), low=0.5, high=2.0)
    cases.search(float, low=0.5, high=2.0)


GRID = [(2.0**k, 80.0 - 5 * abs(k)) for k in range(-4, 5)]  # best at 1


def test_a_rule_is_judged_by_what_it_leads_to() -> None:
    low = table.Judged([0.25, 0.25], GRID)
    assert low.rate == pytest.approx(0.25)
    assert low.factor == pytest.approx(4)
    assert low.lost() == pytest.approx(10)
    assert low.lost(4) == pytest.approx(0)
    assert table.common_factor([low, table.Judged([0.25], GRID)]) == 4
    assert table.Judged([1e-9], GRID).lost() == pytest.approx(20), "beyond the grid its end"
    spread = table.Judged([0.5, 2.0], GRID)
    assert (spread.rate, spread.lost()) == (pytest.approx(1), pytest.approx(5))


def test_a_factor_is_judged_in_the_case_that_it_was_not_chosen_in() -> None:
    odd, usual = table.Judged([4.0], GRID), [table.Judged([0.25], GRID) for _ in range(3)]
    assert table.common_factor([odd, *usual]) == 4
    first, *others = table.left_out([odd, *usual])
    assert first == pytest.approx(20), "times 4, which the others want, is 16 times too high here"
    assert others == pytest.approx([0, 0, 0])


def test_a_fixed_rate_is_judged_in_the_case_that_it_was_not_chosen_in() -> None:
    def trained(best: int) -> dict[str, dict[str, float]]:
        return {f"2^{k} 0": {"top1": 80.0 - 5 * abs(k - best)} for k in range(-6, 7)}

    found = table.fixed({"a sgd 32": trained(-2), "b sgd 32": trained(0), "a adam 32": trained(-4)})
    assert found.keys() == {"a sgd 32", "b sgd 32"}, "one case of an optimizer has no others"
    assert found["a sgd 32"].rate == pytest.approx(1)
    assert found["a sgd 32"].lost() == pytest.approx(10)


def test_the_best_rate_lies_between_those_of_the_grid() -> None:
    grid = [(2.0**k, 80.0 - (k - 0.3) ** 2) for k in range(-3, 4)]
    assert math.log2(table.best_rate(grid)) == pytest.approx(0.3)
    assert table.best_rate(grid[:3]) == grid[2][0], "at the end of the grid that end"
