import math

import pytest
import torch
from torch import nn

from feedline import InputError
from feedline.cli.recipes import configure
from feedline.training.config import Config
from feedline.training.optim import WeightAverage, make_optimizer, make_schedule, parameter_groups, trapezoid
from tests.training.conftest import Make, small_model


def rates(config: Config, steps_per_epoch: int) -> list[float]:
    """The learning rate of every step of a run."""
    optimizer = make_optimizer(config.optim, small_model(), 0.1, fused=False)
    schedule = make_schedule(config.optim, optimizer, steps_per_epoch)
    used = []
    for _ in range(config.optim.epochs * steps_per_epoch):
        used.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return used


@pytest.mark.parametrize("steps_per_epoch", [1, 7, 100, 390])
def test_the_assignments_cycle_peaks_at_epoch_4_and_returns_to_its_start(steps_per_epoch: int) -> None:
    used = rates(configure("assignment", {}), steps_per_epoch)
    peak = 4 * steps_per_epoch - 1
    assert used[peak] == pytest.approx(0.00203, rel=1e-9)
    assert max(used) <= 0.00203 * (1 + 1e-9)
    if steps_per_epoch > 1:
        assert used[peak - 1] < used[peak] > used[peak + 1]
    assert used[0] == pytest.approx(0.000203)
    assert used[-1] == pytest.approx(used[0]), "it returns to its start"
    assert min(used) >= used[0] * (1 - 1e-9), "it is never lower"


@pytest.mark.parametrize("anneal", ["cos", "linear"])
def test_first_and_last_rate_of_a_cycle(anneal: str) -> None:
    config = Config.build(
        "x",
        {"epochs": 10, "max_lr": 1.0, "pct_start": 0.3, "div_factor": 10, "final_div_factor": 100, "anneal": anneal},
    )
    used = rates(config, 20)
    assert used[0] == pytest.approx(0.1)
    assert used.index(max(used)) == 59
    assert used[59] == pytest.approx(1)
    assert used[-1] == pytest.approx(0.001)


def test_a_cycle_can_end_at_exactly_zero() -> None:
    used = rates(Config.build("x", {"epochs": 2, "final_div_factor": math.inf, "anneal": "linear"}), 10)
    assert used[-1] == 0
    assert min(used[:-1]) > 0


@pytest.mark.parametrize("cycle_momentum", [False, True])
@pytest.mark.parametrize("anneal", ["cos", "linear"])
@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (1, 2), (1, 3), (1, 5), (5, 1), (2, 5), (10, 1), (50, 1)])
def test_a_cycle_of_any_length_comes_near_its_peak(epochs: int, steps: int, anneal: str, cycle_momentum: bool) -> None:
    """Also if the rise is a single step, or less than one."""
    for share in (0.01, 0.1, 0.2, 1 / 3, 0.5, 0.9):
        values = {"epochs": epochs, "max_lr": 1.0, "pct_start": share, "anneal": anneal}
        used = rates(Config.build("x", {**values, "cycle_momentum": cycle_momentum}), steps)
        assert len(used) == epochs * steps
        assert 0.1 < max(used) <= 1 + 1e-9
    peak = {"peak_epoch": 1, "epochs": epochs + 1}
    assert rates(Config.build("x", {"max_lr": 1.0, **peak}), steps)[steps - 1] == pytest.approx(1)


@pytest.mark.parametrize("rise", [{"pct_start": 0.2}, {"peak_epoch": 2}])
def test_a_trapezoid_rises_stays_and_falls_to_zero(rise: dict[str, float]) -> None:
    values = {"schedule": "trapezoid", "epochs": 10, "max_lr": 0.5, "div_factor": 10, "cooldown": 0.3, **rise}
    used = rates(Config.build("x", values), 10)
    assert used[:2] == pytest.approx([0.05, 0.05 + 0.45 / 19])
    assert used[19:71] == pytest.approx([0.5] * 52)
    assert used[18] < 0.5 > used[71]
    assert used[71:] == pytest.approx([0.5 * left / 30 for left in range(29, 0, -1)]), "the next one would be 0"


def test_a_trapezoid_without_a_fall_ends_at_its_peak() -> None:
    used = rates(Config.build("x", {"schedule": "trapezoid", "epochs": 2, "max_lr": 0.5, "cooldown": 0}), 10)
    assert used[-1] == used[10] == pytest.approx(0.5)


def test_the_parts_of_a_trapezoid_must_fit() -> None:
    with pytest.raises(InputError, match=r"^cooldown=0.8: must be at least 0 and at most 1 - 0.3"):
        Config.build("x", {"schedule": "trapezoid", "cooldown": 0.8})
    with pytest.raises(InputError, match=r"^cycle_momentum=True: must be off with a trapezoid"):
        Config.build("x", {"schedule": "trapezoid", "cycle_momentum": True})
    assert Config.build("x", {"cooldown": 0.8}).optim.schedule == "onecycle"


@pytest.mark.parametrize("tenths", range(1, 10))
def test_a_trapezoid_may_fall_from_where_it_rose(tenths: int) -> None:
    """Shares that add up to 1 on paper, and not in floating point."""
    rise, fall = tenths / 10, 1 - tenths / 10
    for cooldown in (fall, round(fall, 1)):
        config = Config.build("x", {"schedule": "trapezoid", "pct_start": rise, "cooldown": cooldown, "epochs": 10})
        rates = [trapezoid(config.optim, step, 100) for step in range(100)]
        assert max(rates) == pytest.approx(1.0, abs=0.02 / min(rise, fall))
        assert all(0 < rate <= 1 for rate in rates)


def test_norms_and_biases_have_no_weight_decay() -> None:
    decayed, free = parameter_groups(small_model(), 0.1)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert [p.ndim for p in decayed["params"]] == [4, 4, 2]  # type: ignore[attr-defined]
    assert [p.ndim for p in free["params"]] == [1] * 5  # type: ignore[attr-defined]


def test_the_weight_average_follows_the_weights_and_copies_counters() -> None:
    model = small_model()
    average = WeightAverage(model, decay=0.9)
    weight = model[0].weight  # type: ignore[index]
    before = weight.detach().clone()
    with torch.no_grad():
        weight += 1
        model[1].num_batches_tracked += 5  # type: ignore[index]
    average.update()
    decay = 2 / 11  # min(0.9, (1 + 1) / (10 + 1)): early updates use a small decay
    torch.testing.assert_close(average.model[0].weight, decay * before + (1 - decay) * (before + 1))  # type: ignore[index]
    assert average.model[1].num_batches_tracked == 5  # type: ignore[index]
    for _ in range(200):
        average.update()
    torch.testing.assert_close(average.model[0].weight, weight.detach())  # type: ignore[index]
    assert not any(p.requires_grad for p in average.model.parameters())
    assert isinstance(average.model[1], nn.BatchNorm2d)  # type: ignore[index]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("fused", [True, False])
def test_parameters_are_updated_together(config: Make, optimizer: str, fused: bool) -> None:
    """Where the scaler forbids a fused optimizer, torch is told to take a few kernels for all parameters."""
    made = make_optimizer(config(optimizer=optimizer).optim, small_model(), 0.1, fused=fused)
    assert all(bool(group["fused"]) is fused for group in made.param_groups)
    assert all(bool(group["foreach"]) is not fused for group in made.param_groups)
