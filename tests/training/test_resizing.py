"""Training on a schedule of image sizes."""

import csv
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from feedline import InputError
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.step import TrainStep
from tests.training.conftest import Build, Make, fit_until, same, small_model, weights

SCHEDULE = "16@0,24@1,32@2"


@pytest.mark.parametrize("engine", ["dali", "torch"])
@pytest.mark.parametrize("step", [4, 6, 8])
def test_a_run_is_resumed_to_the_bit_around_a_change(config: Make, trainer: Build, engine: str, step: int) -> None:
    """Stopped before, at and after the first change of the size; an epoch has 6 steps."""
    c = config(image_size=SCHEDULE, engine=engine, ema=0.9, log_every=1)
    whole = trainer(c, "whole")
    whole.fit()
    part = fit_until(trainer, c, "part", step)
    rest = trainer(c, "part", checkpoint.load_last(part.out))
    rest.fit()
    assert same(weights(rest), weights(whole))
    figures = ("epoch", "image_size", "train_loss", "val_loss", "val_top1")
    rows = [[[row[key] for key in figures] for row in run.state.position.history] for run in (whole, rest)]
    assert rows[0] == rows[1]


def test_the_sizes_are_told(config: Make, trainer: Build, capsys: pytest.CaptureFixture[str]) -> None:
    run = trainer(config(image_size=SCHEDULE))
    run.fit()
    lines = [line for line in capsys.readouterr().out.splitlines() if "from here on" in line]
    assert lines == ["epoch 2/3: images of 24x24 from here on", "epoch 3/3: images of 32x32 from here on"]
    rows = list(csv.DictReader((run.out / "metrics.csv").open()))
    assert [row["image_size"] for row in rows] == ["16", "24", "32"]
    snapshot = checkpoint.load(run.out / "best.pt")
    assert snapshot.image_size == [32, 32], "that of evaluation"
    assert snapshot.config.loader.image_size == SCHEDULE


def test_sizes_after_the_end_of_the_run_are_refused() -> None:
    with pytest.raises(InputError) as caught:
        Config.build("x", {"image_size": "24@0,32@8", "epochs": 8})
    assert str(caught.value) == "image_size=24@0,32@8: must be sides for epochs below the run's 8"
    Config.build("x", {"image_size": "24@0,32@8", "epochs": 9})


def test_a_compiled_network_is_compiled_once_for_each_size(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """For more sizes than torch allows by itself, and each time for that size only."""
    shapes: list[list[Any]] = []

    def note(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        shapes.append([tuple(i.shape) for i in inputs if isinstance(i, torch.Tensor) and i.ndim == 4])
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=note))
    sides = list(range(16, 40, 2))
    schedule = ",".join(f"{side}@{epoch}" for epoch, side in enumerate(sides))
    c = config(compile=True, image_size=schedule, epochs=len(sides))
    model: nn.Module = small_model()
    step = TrainStep(c, model, torch.device("cpu"), 0.01)
    for side in [*sides, *sides]:
        step(torch.randn(4, 3, side, side), torch.zeros(4, dtype=torch.int64))
    inputs = [shape for graph in shapes for shape in graph if shape[:2] == (4, 3)]
    assert inputs == [(4, 3, side, side) for side in sides]
