import functools
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedline import InputError
from feedline.model.drop_path import DropPath
from feedline.training import checkpoint
from feedline.training.precision import Precision
from feedline.training.state import TrainState
from feedline.training.stopping import Interrupted
from tests.training.conftest import Build, Make, fit_until, same, small_model, weights

KINDS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "ema": 0.9},
    "adam": {"optimizer": "adam", "cycle_momentum": True, "clip_grad": 1.0},
    "adamw-bf16": {"optimizer": "adamw", "amp": True, "ema": 0.9, "label_smoothing": 0.1},
    "muon-bf16": {"optimizer": "muon", "amp": True, "cycle_momentum": True},
    "accumulate-balanced": {"accumulate": 4, "class_weights": "balanced", "ema": 0.9},
    "muon-trapezoid": {"optimizer": "muon", "schedule": "trapezoid", "clip_grad": 1.0, "ema": 0.9},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_has_the_same_bits_as_an_uninterrupted_one(config: Make, trainer: Build, kind: str) -> None:
    c = config(log_every=1, **KINDS[kind])
    whole = trainer(c, "whole")
    whole.fit()
    steps = 3 * len(whole.train)
    for stop in sorted(random.Random(kind).sample(range(1, steps), 4)):
        out = f"stopped-{stop}"
        fit_until(trainer, c, out, stop)
        state = checkpoint.load(whole.out.parent / out / "last.pt")
        rest = trainer(c, out, state)
        assert rest.state.global_step == stop
        rest.fit()
        assert same(weights(rest), weights(whole))
        assert untimed(rest.out) == untimed(whole.out)


def test_a_resumed_run_scales_gradients_as_before(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a scale that grows every second step."""
    make = functools.partial(torch.amp.GradScaler, "cpu", init_scale=64.0, growth_interval=2)
    monkeypatch.setattr(Precision, "scaler", lambda _: make())
    c = config(epochs=1, log_every=1, amp=True, amp_dtype="fp16", ema=0.9)
    whole = trainer(c, "whole")
    whole.fit()
    fit_until(trainer, c, "part", 3)
    rest = trainer(c, "part", checkpoint.load(whole.out.parent / "part/last.pt"))
    rest.fit()
    assert rest.state.step.scaler.state_dict() == whole.state.step.scaler.state_dict()
    assert whole.state.step.scaler.get_scale() == 64.0 * 2 ** (len(whole.train) // 2)
    assert same(weights(rest), weights(whole))


def test_a_resumed_run_drops_the_same_branches(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    c = config(epochs=2, log_every=1, drop_path=0.5)
    monkeypatch.setattr("tests.training.conftest.small_model", lambda: with_drop_path(0.5))
    whole = trainer(c, "whole")
    whole.fit()
    fit_until(trainer, c, "part", 3)
    rest = trainer(c, "part", checkpoint.load(whole.out.parent / "part/last.pt"))
    rest.fit()
    assert same(weights(rest), weights(whole))
    plain = trainer(c, "plain")
    next(m for m in plain.state.model.modules() if isinstance(m, DropPath)).probability = 0.0
    plain.fit()
    assert not same(weights(plain), weights(whole)), "branches were dropped at all"


def with_drop_path(probability: float) -> nn.Module:
    model = small_model()
    return nn.Sequential(model[0], DropPath(probability), *model[1:])  # type: ignore[index]


def untimed(run: Path) -> list[dict[str, Any]]:
    """The records of a log without values that depend on time."""
    lines = (run / "log.jsonl").read_text().splitlines()
    keep = ("step", "loss", "top1", "lr", "val_top1")
    return [{k: v for k, v in json.loads(line).items() if k in keep} for line in lines]


def test_a_run_may_be_stopped_at_every_step(config: Make, trainer: Build) -> None:
    c = config(ema=0.9)
    whole = trainer(c, "whole")
    whole.fit()
    state = None
    for _ in range(100):
        part = trainer(c, "part", state)
        try:
            # A session that starts with an evaluation is not stopped, or it would never finish it.
            if part.state.position.step < len(part.train):
                part.stopping.set()  # each session does one step
            part.fit()
        except Interrupted:
            state = checkpoint.load(part.out / "last.pt")
            continue
        break
    assert same(weights(part), weights(whole))


def test_a_checkpoint_of_another_model_is_refused(state: TrainState, config: Make, trainer: Build) -> None:
    with pytest.raises(InputError, match=r"resume=run: the checkpoint does not fit this model \(Error"):
        TrainState(state.config, small_model(3), state.train).restore(state.snapshot(), Path("run"))
    without = TrainState(config(), small_model(), state.train).snapshot()
    with pytest.raises(InputError, match="it holds no moving average of the weights"):
        state.restore(without, Path("run"))


@pytest.mark.gpu
def test_resuming_on_the_gpu(config: Make, trainer: Build) -> None:
    c = config(device="cuda", ema=0.9, log_every=1)
    whole = trainer(c, "whole")
    whole.fit()
    fit_until(trainer, c, "part", 5)
    rest = trainer(c, "part", checkpoint.load(whole.out.parent / "part/last.pt"))
    rest.fit()
    for key, value in weights(whole).items():
        torch.testing.assert_close(weights(rest)[key], value, atol=1e-3, rtol=1e-2)
