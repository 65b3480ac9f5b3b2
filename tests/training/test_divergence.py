import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from feedline.pipeline.errors import DivergedError, InputError
from feedline.training import checkpoint
from feedline.training.step import TrainStep
from tests.training.conftest import Build, Make


def test_a_loss_that_is_not_finite_stops_the_run(config: Make, trainer: Build) -> None:
    """The error names the step and its images. Later weights are not saved."""
    run = trainer(config(max_lr=1e30, div_factor=1.0, log_every=6, save_every=1))
    with pytest.raises(
        DivergedError, match=r"the loss is not finite at step \d \(epoch 1, LR 1e\+30.*lower max_lr"
    ) as e:
        run.fit()
    report = json.loads((run.out / "nonfinite.json").read_text())
    assert f"at step {report['step']} " in str(e.value)
    assert report["images"] == run.train.plan.batch(0, report["batch"]).ids.tolist()
    last = checkpoint.load(run.out / "last.pt")
    assert last.position.step == report["step"] - 1


def test_a_batch_that_is_not_finite_is_named(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(config(log_every=6))
    call, steps = run.state.step.__call__, []

    def poisoned(images: torch.Tensor, *rest: Any) -> Any:
        steps.append(1)
        return call(images * math.nan if len(steps) == 8 else images, *rest)

    monkeypatch.setattr(type(run.state.step), "__call__", lambda _, *batch: poisoned(*batch))
    with pytest.raises(DivergedError, match=r"not finite at step 8 \(epoch 2"):
        run.fit()
    assert json.loads((run.out / "nonfinite.json").read_text())["images"] == run.train.plan.batch(1, 1).ids.tolist()


def test_a_scaler_skips_steps_until_its_scale_is_below_one(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = config(amp=True, amp_dtype="fp16", epochs=4)
    run = trainer(c, "one")
    call, bad = type(run.state.step).__call__, {3}

    def poisoned(self: TrainStep, images: torch.Tensor, *rest: Any) -> Any:
        """As where the forward pass overflows, so that norms count what is not finite."""
        return call(self, images * math.nan if run.state.global_step + 1 in bad else images, *rest)

    monkeypatch.setattr(type(run.state.step), "__call__", poisoned)
    run.state.step.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    result = run.fit()
    assert math.isfinite(result["last"]["train_loss"])
    assert run.state.schedule.last_epoch == 4 * 6 - 1
    assert all(buffer.isfinite().all() for buffer in run.state.model.buffers())
    bad.update(range(1, 100))
    run = trainer(c, "all")
    run.state.step.scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    with pytest.raises(DivergedError, match=r"the loss is not finite at step 7 "):
        run.fit()


def test_weights_that_blow_up_in_the_last_step_of_an_epoch(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of that step was finite. Nothing of it is saved, with an evaluation after it or without."""
    call = TrainStep.__call__

    def blowing_up(self: TrainStep, *batch: Any) -> Any:
        result = call(self, *batch)
        if run.state.global_step + 1 == 12:
            with torch.no_grad():
                next(self.model.parameters()).fill_(value)
        return result

    monkeypatch.setattr(TrainStep, "__call__", blowing_up)
    for every, value, message in ((1, 1e38, "the val loss is"), (0, math.nan, "weights or"), (1, math.inf, "the val")):
        run = trainer(config(eval_every=every), f"{every}-{value}")
        with pytest.raises(DivergedError, match=rf"^{message}.* not finite after step 12 \(epoch 2\); this step"):
            run.fit()
        assert checkpoint.load(run.out / "last.pt").position.epoch == 1
        assert run.state.position.history[-1]["epoch"] == 1
        assert (run.out / "best.pt").exists() == (every == 1)


@pytest.mark.parametrize("unreadable", [False, True])
def test_such_weights_are_not_saved_by_what_ends_an_evaluation(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch, unreadable: bool
) -> None:
    """A signal, or an image that can no longer be read."""
    run = trainer(config(epochs=1))

    def ending(*args: Any, after_batch: Callable[[], None], **options: Any) -> None:
        with torch.no_grad():
            next(run.state.model.parameters()).fill_(math.inf)
        if unreadable:
            raise InputError("a.png: cannot be read")
        run.stopping.set()
        after_batch()

    monkeypatch.setattr("feedline.training.loop.evaluate", ending)
    with pytest.raises(DivergedError, match="statistics are not finite after step 6"):
        run.fit()
    assert not (run.out / "last.pt").exists()
