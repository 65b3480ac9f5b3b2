from typing import Any

import pytest
import torch
from torch import nn

from feedline.training.config import Config
from feedline.training.muon import Muon, orthogonalised
from feedline.training.optim import make_optimizer, make_schedule
from tests.training.conftest import small_model


def network() -> nn.Module:
    """Three convolutions, two of one shape, on which a step of Muon can be followed."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3), nn.Flatten(), nn.Linear(24, 2))


def backward(model: nn.Module) -> None:
    model.zero_grad()
    model(torch.ones(2, 3, 8, 8).cumsum(-1)).square().mean().backward()


def muon(model: nn.Module, **values: Any) -> torch.optim.Optimizer:
    config = Config.build("x", {"optimizer": "muon", "weight_decay": 0.0, **values})
    return make_optimizer(config.optim, model, 0.1, fused=True)


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (3, 8, 40)])
def test_five_steps_bring_singular_values_near_one(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonalised(matrix, 5, torch.float32))
    assert 0.6 < values.min() <= values.max() < 1.3


@pytest.mark.parametrize("shape", [(8, 40), (40, 8)])
def test_orthogonalising_keeps_the_singular_vectors(shape: tuple[int, int]) -> None:
    """Of diag(s), singular vectors are the axes, so it stays diagonal; and matrices in a stack do not mix."""
    matrix = torch.zeros(shape)
    matrix.diagonal()[:] = torch.linspace(0.5, 1.5, 8)
    alone = orthogonalised(matrix, 3, torch.float32)
    assert alone.diagonal().min() > 0.5
    assert alone.count_nonzero() == 8
    torch.testing.assert_close(orthogonalised(torch.stack([matrix, 2 * matrix]), 3, torch.float32)[1], alone)


def test_bf16_is_close_to_float32() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(32, 288)
    exact, rounded = (orthogonalised(matrix, 3, dtype) for dtype in (torch.float32, torch.bfloat16))
    assert rounded.dtype is torch.bfloat16
    assert (rounded - exact).norm() < 0.02 * exact.norm()


def test_a_step_is_the_published_one() -> None:
    """Filters: w = w sqrt(out) / |w| - lr NS(g + m b), with b = g in the first step. The rest: SGD with Nesterov."""
    model, twin = network(), network()
    optimizer = muon(model, muon_momentum=0.6, muon_steps=3, momentum=0.9, muon_sgd_ratio=0.5)
    rest = [twin[0].weight, twin[4].weight, *(m.bias for m in (twin[0], twin[1], twin[2], twin[4]))]  # type: ignore[index]
    sgd = torch.optim.SGD(rest, lr=0.05, momentum=0.9, nesterov=True)
    buffers = [torch.zeros(6, 54) for _ in (1, 2)]
    for _ in range(2):
        backward(model)
        backward(twin)
        optimizer.step()
        sgd.step()
        for index, buffer in zip((1, 2), buffers, strict=True):
            weight = twin[index].weight  # type: ignore[index]
            gradient = weight.grad.flatten(1)
            buffer.mul_(0.6).add_(gradient)
            update = orthogonalised(gradient + 0.6 * buffer, 3, torch.float32)
            with torch.no_grad():
                weight.copy_(weight * 6**0.5 / weight.norm() - 0.1 * update.reshape(weight.shape))
        for (name, expected), actual in zip(twin.named_parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(actual, expected, msg=name)


def test_without_renorm_weight_decay_acts_on_filters() -> None:
    model = network()
    optimizer = muon(model, muon_renorm=False, weight_decay=0.5)
    backward(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = model[1].weight.detach().clone()  # type: ignore[index]
    optimizer.step()
    torch.testing.assert_close(model[1].weight.detach(), before * (1 - 0.1 * 0.5))  # type: ignore[index]


def test_memory_format_does_not_change_a_step() -> None:
    plain, last = network(), network().to(memory_format=torch.channels_last)
    for model in (plain, last):
        optimizer = muon(model)
        for _ in range(2):
            backward(model)
            optimizer.step()
    for a, b in zip(plain.parameters(), last.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_sgd_trains_the_first_convolution_the_head_and_what_has_one_dimension() -> None:
    optimizer = muon(small_model(), weight_decay=0.1)
    shapes = [[tuple(p.shape) for p in group["params"]] for group in optimizer.param_groups]
    assert shapes == [[(16, 8, 3, 3)], [(8, 3, 3, 3), (4, 16)], [(8,), (8,), (16,), (16,), (4,)]]
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.1, 0.0]


def test_both_rates_follow_the_schedule_in_their_ratio() -> None:
    config = Config.build("x", {"optimizer": "muon", "epochs": 4, "max_lr": 0.2, "muon_sgd_ratio": 2.5})
    optimizer = make_optimizer(config.optim, small_model(), 0.2, fused=False)
    schedule = make_schedule(config.optim, optimizer, 5)
    peak = 0.0
    for _ in range(20):
        filters, weights, others = (group["lr"] for group in optimizer.param_groups)
        assert weights == others == pytest.approx(2.5 * filters)
        peak = max(peak, filters)
        optimizer.step()
        schedule.step()
    assert peak == pytest.approx(0.2)


def test_a_network_without_convolutions_is_trained_by_sgd() -> None:
    linear = nn.Linear(192, 2)
    model = nn.Sequential(nn.Flatten(), linear)
    optimizer = muon(model)
    backward(model)
    before = linear.weight.detach().clone()
    optimizer.step()
    assert isinstance(optimizer, Muon)
    assert not torch.equal(linear.weight, before)
