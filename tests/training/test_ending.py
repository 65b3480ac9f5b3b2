"""Early stopping: when a run ends, what says so, and that a resumed run ends where it would have."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline.training import checkpoint, evaluate
from feedline.training.ending import ended
from feedline.training.snapshot import RunPosition
from tests.training.conftest import Build, Make, fit_until, same, weights

Scores = Callable[..., None]


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    """The next evaluations give these val top-1."""
    run = evaluate.evaluate

    def use(*top1: float) -> None:
        left = iter(top1)

        def evaluated(*args: Any, **options: Any) -> evaluate.Evaluation:
            return dataclasses.replace(run(*args, **options), top1=float(next(left)))

        monkeypatch.setattr("feedline.training.loop.evaluate", evaluated)

    return use


def position(*top1: float | None) -> RunPosition:
    rows: list[dict[str, float | None]] = [{"epoch": i, "val_top1": value} for i, value in enumerate(top1, 1)]
    return RunPosition(epoch=len(rows), history=rows)


def records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("top1", "patience", "ends"),
    [
        ([], 1, False),
        ([10], 1, False),
        ([10, 10], 1, True),
        ([10, 9, 11], 2, False),
        ([10, 9, 10], 2, True),
        ([10, 9, 8, 7], 0, False),
        ([10, None, None, 9, None], 2, False),
        ([10, None, None, 9, None, 9], 2, True),
        ([0, 0, 0], 2, True),
    ],
)
def test_patience_counts_evaluations_since_the_best(
    config: Make, top1: list[float | None], patience: int, ends: bool
) -> None:
    """Epochs without one do not count, and as good as the best is not better."""
    assert ended(config(epochs=9, patience=patience), position(*top1)) == ("patience" if ends else None)


def test_a_run_ends_early_and_says_why(config: Make, trainer: Build, scores: Scores) -> None:
    scores(50, 60, 55, 60)
    run = trainer(config(epochs=9, patience=2))
    summary = run.fit()
    text = "after epoch 4 of 9: 2 evaluations without a val top-1 above that of epoch 2 (patience 2)"
    assert summary["ended"] == {"by": "patience", "epoch": 4, "text": text}
    assert json.loads((run.out / "summary.json").read_text())["ended"] == summary["ended"]
    assert [record.get("ended") for record in records(run.out) if "val_top1" in record] == [None] * 3 + ["patience"]
    assert summary["best"]["epoch"] == 2
    assert checkpoint.load(run.out / "best.pt").position.epoch == 2


def test_a_run_that_gets_better_does_all_its_epochs(config: Make, trainer: Build, scores: Scores) -> None:
    scores(50, 49, 51, 50)
    run = trainer(config(epochs=4, patience=2))
    assert run.fit()["ended"] == {"by": "epochs", "epoch": 4, "text": "after all 4 epochs"}
    assert records(run.out)[-1]["ended"] == "epochs"


@pytest.mark.parametrize("step", [5, 14, 19])
def test_a_resumed_run_ends_where_it_would_have(config: Make, trainer: Build, scores: Scores, step: int) -> None:
    """Stopped before and after the best evaluation: nothing is counted anew."""
    c, top1 = config(epochs=9, patience=2, log_every=1), (50, 60, 55, 58, 70)
    scores(*top1)
    whole = trainer(c, "whole")
    expected = whole.fit()
    scores(*top1)
    part = fit_until(trainer, c, "part", step)
    rest = trainer(c, "part", checkpoint.load_last(part.out))
    assert rest.fit()["ended"] == expected["ended"]
    assert rest.state.position.epoch == 4
    assert same(weights(rest), weights(whole))


def test_a_run_that_ended_early_goes_on_as_if_it_had_not(config: Make, trainer: Build, scores: Scores) -> None:
    """With more patience: the schedule is still that of all epochs."""
    scores(50, 40, 60, 70)
    whole = trainer(config(epochs=4), "whole")
    whole.fit()
    scores(50, 40, 60, 70)
    assert trainer(config(epochs=4, patience=1), "part").fit()["ended"]["by"] == "patience"
    rest = trainer(config(epochs=4), "part", checkpoint.load_last(whole.out.parent / "part"))
    assert rest.fit()["ended"]["by"] == "epochs"
    assert same(weights(rest), weights(whole))


@pytest.mark.parametrize(
    ("class_weights", "best", "said"),
    [("none", 1, "best"), ("balanced", 2, "best by balanced accuracy")],
)
def test_class_weights_choose_the_best_by_balanced_accuracy(
    config: Make,
    trainer: Build,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    class_weights: str,
    best: int,
    said: str,
) -> None:
    """8 images of one class and 2 of another: all taken for the large class, then some of either right, then fewer."""
    run = evaluate.evaluate
    found = iter([([8, 0], [2, 0]), ([5, 3], [0, 2]), ([4, 4], [1, 1])])

    def evaluated(*args: Any, **options: Any) -> evaluate.Evaluation:
        confusion = np.array(next(found))
        top1 = 100 * confusion.diagonal().sum().item() / confusion.sum().item()
        return dataclasses.replace(run(*args, **options), top1=top1, confusion=confusion)

    monkeypatch.setattr("feedline.training.loop.evaluate", evaluated)
    summary = trainer(config(epochs=4, class_weights=class_weights, patience=1)).fit()
    assert (summary["best"]["epoch"], summary["ended"]["epoch"]) == (best, best + 1)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert lines[best - 1].endswith(f" %  {said}")
    assert not lines[best].rstrip().endswith(said)
    measure = {"none": "val top-1", "balanced": "val balanced accuracy"}[class_weights]
    assert f"1 evaluation without a {measure} above that of epoch {best}" in summary["ended"]["text"]
