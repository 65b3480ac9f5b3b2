import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from torch import nn

from feedline import Dataset, InputError
from feedline.cli.build import make_loader
from feedline.training.bench import endless
from feedline.training.config import Config
from feedline.training.lr_curve import no_recommendation, none_below, smooth, smoothed_over, suggest
from feedline.training.lr_range import GAMMA, Sweep, lr_range_test, unchanged
from tests.training.conftest import small_model

CPU = torch.device("cpu")
Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"


def snapshot(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_test_restores_everything(dataset: Dataset, config: Callable[..., Config]) -> None:
    c = config(optimizer="adam", batch_size=4)
    model = small_model().eval()
    model[0].train()  # type: ignore[index]
    model[8].weight.grad = torch.ones(4, 16)  # type: ignore[index]
    before, modes = snapshot(model), [m.training for m in model.modules()]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # noqa: NPY002
    loader = make_loader(c, dataset, "train", CPU)
    sweep = Sweep.plan(len(loader), start=1e-4, end=10)
    result = lr_range_test(c, model, loader, CPU, sweep)
    loader.close()
    assert len(result.lr) > 12
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(model[8].weight.grad, torch.ones(4, 16))  # type: ignore[index]
    assert model[0].weight.grad is None  # type: ignore[index]
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_other_objects_are_restored_too() -> None:
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.zeros(()))
    before = snapshot(model)

    def work() -> None:
        model(torch.randn(4, 3, 16, 16)).sum().backward()
        optimizer.step()
        scaler.update(4.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), unchanged(model, optimizer, scaler):
        work()
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())
    assert optimizer.state_dict()["state"] == {}
    assert scaler.get_scale() == 8.0


def test_the_factor_is_1_069_if_an_epoch_has_enough_batches() -> None:
    sweep = Sweep.plan(1000, start=1e-5, end=1.0)
    assert sweep.factor == GAMMA == 1.069
    assert sweep.steps == math.floor(math.log(1e5) / math.log(1.069)) + 1
    with pytest.raises(InputError, match="start_lr=2"):
        Sweep.plan(100, start=2, end=1)


@pytest.mark.parametrize(("batches", "steps"), [(1, 100), (12, 100), (18, 100), (99, 100), (150, 150), (172, 172)])
def test_a_smaller_set_takes_a_hundred_steps_over_several_passes(batches: int, steps: int) -> None:
    sweep = Sweep.plan(batches, start=1e-5, end=1.0)
    assert sweep.steps == steps
    assert 1e-5 * sweep.factor ** (steps - 1) == pytest.approx(1.0)


def test_a_short_range_takes_fewer_steps() -> None:
    assert Sweep.plan(5, start=0.1, end=1.0) == Sweep(0.1, GAMMA, 35)


@pytest.mark.parametrize(
    ("start", "end"), [(1e-4, 10.0), (0.05, 0.1), (0.999, 1.0), (1e-8, 1e-3), (0.1, 0.1 * GAMMA**20)]
)
def test_no_rate_is_above_the_last_one_that_was_asked_for(start: float, end: float) -> None:
    for batches in (1, 30, 150, 1000):
        sweep = Sweep.plan(batches, start=start, end=end)
        last = start * sweep.factor ** (sweep.steps - 1)
        assert end / GAMMA < last <= end * (1 + 1e-9)


def test_the_rates_are_those_of_step_lr(dataset: Dataset, config: Callable[..., Config]) -> None:
    c = config(batch_size=4)
    loader = make_loader(c, dataset, "train", CPU)
    result = lr_range_test(c, small_model(), loader, CPU, Sweep(1e-6, GAMMA, 15))
    assert result.lr == pytest.approx([1e-6 * 1.069**i for i in range(15)])
    assert result.stopped == "all steps were done"


def test_it_stops_when_the_loss_blows_up(dataset: Dataset, config: Callable[..., Config]) -> None:
    c = config(batch_size=4)
    loader = make_loader(c, dataset, "train", CPU)
    result = lr_range_test(c, small_model(), loader, CPU, Sweep(1e-3, 2.0, 24))
    assert "blew up" in result.stopped
    assert len(result.lr) < 24
    assert all(math.isfinite(loss) for loss in result.loss)


def why_not(losses: Floats, steps: int = 100, stopped: str = "all steps were done", *, low: bool = False) -> str:
    """Why a curve gives no rate; empty if it gives one."""
    return no_recommendation(list(losses), smoothed_over(list(losses), steps), steps, stopped, low=low) or ""


def noise(size: float, seed: int, steps: int = 100) -> Floats:
    return np.random.default_rng(seed).normal(0, size, steps)


FALL = np.interp(np.arange(100), [0, 30, 70, 99], [2.3, 2.3, 1.5, 4.0])


@pytest.mark.parametrize("seed", range(3))
def test_a_fall_behind_noise_gives_a_rate(seed: int) -> None:
    for size in (0.0, 0.1, 0.4):
        assert not why_not(FALL + noise(size, seed))


def test_a_test_that_ends_too_early_gives_no_rate() -> None:
    """Its last rate is below the usual one, and the loss still falls; or the rate would be above those tried."""
    lrs, loss = fall(-4.9, -1.0)
    still = lrs.index(max(lr for lr in lrs if lr < 10**-1.2))
    assert none_below(lrs[:still], loss[:still], 10.0) == "the loss still falls at the last rate; raise `end_lr`"
    assert none_below(lrs[:still], loss[:still], lrs[still - 1]) is None, "as far as tests go"
    assert none_below(lrs, loss, 10.0) is None
    lrs, loss = fall(-0.9, 0.5)
    assert "would be above the last one; raise `end_lr`" in str(none_below(lrs, loss, 10.0))


def test_curves_that_give_no_rate() -> None:
    assert "too few (all steps were done); lower `start_lr`" in why_not(FALL[:11])
    assert "hardly falls" in why_not(np.full(100, 2.3))
    assert "hardly falls" in why_not(np.interp(np.arange(100), [0, 70, 99], [2.3, 2.29, 4.0]))
    blown = why_not(np.interp(np.arange(40), [0, 30, 39], [2.3, 2.29, 4.0]), stopped="the loss blew up (9 at LR 0.01)")
    assert blown == "the loss hardly falls before it blows up; check the labels, or use a larger `batch_size`"
    assert "rises from the first rates on" in why_not(np.linspace(2.3, 4, 100))
    assert "fastest at the first rates; lower `start_lr`" in why_not(2 + 0.5 ** np.arange(100) - 1e-4 * np.arange(100))
    bare = [why_not(2.3 + noise(0.3, seed)) for seed in range(200)]
    assert sum("noise" in text or "rises" in text or "hardly" in text for text in bare) > 180
    assert any("no more than its noise; use a larger `batch_size`" in text for text in bare)
    early = [why_not(2.3 + noise(0.3, seed), low=True) for seed in range(200)]
    assert any("its noise; raise `end_lr`, or use a larger `batch_size`" in text for text in early)


def test_the_study_s_curves_give_rates() -> None:
    """Those that took a hundred steps or more: real networks on real images."""
    path = Path(__file__).parents[2] / "results/lr-range/lr_study.json"
    for curves in json.loads(path.read_text())["sweeps"].values():
        for curve in curves.values():
            if len(curve["loss"]) > 100:
                assert not why_not(curve["loss"], curve["steps"])


def test_a_test_without_a_rate_says_why(dataset: Dataset, config: Callable[..., Config]) -> None:
    c = config(batch_size=32)
    loader = make_loader(c, dataset, "train", CPU)
    result = lr_range_test(c, small_model(), loader, CPU, Sweep(1e-3, 2.0, 3))
    loader.close()
    assert (result.recommended, result.suggestions) == (None, {})
    assert result.reason == "3 steps are too few (all steps were done); lower `start_lr`"


def test_suggestions_on_a_known_curve() -> None:
    """The loss is flat, then falls with a known steepest point, then rises."""
    exponents = np.linspace(-6, 0, 121)
    loss = 3 - 2 / (1 + np.exp(-8 * (exponents + 3))) + np.where(exponents > -2.3, 20 * (exponents + 2.3) ** 2, 0)
    result = suggest((10**exponents).tolist(), loss.tolist())
    assert math.log10(result["steepest"]) == pytest.approx(-3, abs=0.1)
    assert math.log10(result["minimum"]) == pytest.approx(-2.3, abs=0.1)
    assert result["valley"] < result["steepest"] < result["minimum"]


def fall(start: float, end: float) -> tuple[list[float], list[float]]:
    """Rates from 1e-5 to 10, and a loss that falls between two exponents and rises before and after."""
    exponents = np.linspace(-5, 1, 121)
    loss = np.interp(exponents, [-5, start, end, 1], [2, 3, 1, 9])
    return (10**exponents).tolist(), loss.tolist()


@pytest.mark.parametrize(("start", "end"), [(-4.0, -2.0), (-3.0, -2.0), (-3.5, -1.5)])
def test_the_scaled_rate_is_35_times_the_middle_of_the_fall(start: float, end: float) -> None:
    result = suggest(*fall(start, end))
    assert math.log10(result["valley"]) == pytest.approx((start + end) / 2, abs=0.15)
    assert result["scaled"] == pytest.approx(35 * result["valley"])
    assert math.log10(result["minimum"]) == pytest.approx(end), "the assignment's rule is told too"


def test_the_scaled_rate_is_at_most_the_last_one() -> None:
    lrs, loss = fall(-2, 0)
    assert suggest(lrs, loss)["scaled"] == pytest.approx(3.5, rel=0.4)
    assert suggest(lrs[:105], loss[:105])["scaled"] == lrs[104], "the test ended there"
    assert suggest(lrs[:105], loss[:105], blew_up=True)["scaled"] == lrs[104] / 3
    lrs, loss = fall(-4, -2)
    assert suggest(lrs, loss, blew_up=True) == suggest(lrs, loss), "far below it nothing changes"


def test_the_scaled_rate_is_recommended(dataset: Dataset, config: Callable[..., Config]) -> None:
    c = config(batch_size=16)
    loader = make_loader(c, dataset, "train", CPU)
    sweep = Sweep.plan(len(loader), start=1e-4, end=10)
    result = lr_range_test(c, small_model(), endless(loader), CPU, sweep)
    loader.close()
    assert result.recommended == "scaled"
    assert result.reason is None
    assert result.suggestions == suggest(result.lr, result.smoothed, blew_up="blew up" in result.stopped)


def test_smoothing_does_not_lag() -> None:
    straight = [float(i) for i in range(40)]
    middle = smooth(straight, 2)[10:30]
    assert middle == pytest.approx(straight[10:30])
    assert smooth([3.0] * 20, 4) == pytest.approx([3.0] * 20)
