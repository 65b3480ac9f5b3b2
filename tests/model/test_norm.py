"""Norm, residual and ReLU in one go, against torch's operations in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from feedline.model import compiled
from feedline.model.norm import norm, second_use
from tests.model.conftest import activations, needs_kernels, relative_error

pytestmark = needs_kernels


@pytest.fixture(autouse=True)
def bf16_autocast() -> Iterator[None]:
    with torch.autocast("cpu", torch.bfloat16):
        yield


def exact(
    module: nn.BatchNorm2d, x: torch.Tensor, residual: torch.Tensor | None, relu: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, nn.BatchNorm2d]:
    """The result in float64, its inputs and the norm, which has the gradients after a backward pass."""
    reference = nn.BatchNorm2d(module.num_features, module.eps, module.momentum).double()
    reference.load_state_dict(module.state_dict())
    reference.train(module.training)
    with torch.autocast("cpu", enabled=False):
        x = x.detach().double().requires_grad_()
        y = reference(x)
        if residual is not None:
            residual = residual.detach().double().requires_grad_()
            y = y + residual
        y = torch.relu(y) if relu else y
    return y, x, residual, reference


def make_norm(channels: int) -> nn.BatchNorm2d:
    module = nn.BatchNorm2d(channels)
    nn.init.uniform_(module.weight, 0.5, 2)
    nn.init.uniform_(module.bias, -1, 1)
    return module


# More rows than a block has, a last block that is not full, and channels that are no multiple of a vector.
@pytest.mark.parametrize("shape", [(8, 64, 32, 32), (3, 512, 3, 5), (2, 7, 9, 11), (5, 1, 3, 2)])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_values_and_gradients_are_those_of_torch(shape: tuple[int, ...], with_residual: bool, relu: bool) -> None:
    torch.manual_seed(0)
    module = make_norm(shape[1])
    x = (activations(*shape) * 3 + 5).requires_grad_()
    residual = activations(*shape).requires_grad_() if with_residual else None
    dy = activations(*shape)
    wanted, wanted_x, wanted_residual, reference = exact(module, x, residual, relu)
    wanted.backward(dy.double())
    y = norm(module, x, residual, relu=relu)
    y.backward(dy)
    assert y.dtype == torch.bfloat16
    assert relative_error(y, wanted) < 4e-3  # bfloat16 has 8 bits
    # Where the output is a rounding error away from 0 the ReLU may decide otherwise.
    tolerance = 0.02 if relu else 4e-3
    assert relative_error(x.grad, wanted_x.grad) < tolerance
    if residual is not None and wanted_residual is not None:
        assert relative_error(residual.grad, wanted_residual.grad) < tolerance
    assert relative_error(module.weight.grad, reference.weight.grad) < tolerance
    assert relative_error(module.bias.grad, reference.bias.grad) < tolerance
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.allclose(getattr(module, name).double(), getattr(reference, name).double(), rtol=1e-5), name


def test_two_uses_of_a_result_add_their_gradients() -> None:
    torch.manual_seed(0)
    module = make_norm(64)
    x = activations(4, 64, 8, 8).requires_grad_()
    first, second = activations(4, 64, 8, 8), activations(4, 64, 8, 8)
    wanted, wanted_x, _, _ = exact(module, x, None, True)
    wanted.backward((first + second).double())
    y = norm(module, x)
    again = second_use(y)
    assert torch.equal(y, again)
    torch.autograd.backward([y, again], [first, second])
    assert relative_error(x.grad, wanted_x.grad) < 0.02


def test_only_the_second_use_may_have_a_gradient() -> None:
    module, x = make_norm(8), activations(2, 8, 4, 4).requires_grad_()
    second_use(norm(module, x)).sum().backward()
    other, again = make_norm(8), x.detach().clone().requires_grad_()
    other.load_state_dict({**module.state_dict(), "num_batches_tracked": torch.tensor(0)})
    norm(other, again).sum().backward()
    torch.testing.assert_close(x.grad, again.grad)


def test_a_mean_far_from_zero_loses_no_digits() -> None:
    """E[x^2] - E[x]^2 in float32 would."""
    x = activations(64, 8, 16, 16) + 1000
    module = nn.BatchNorm2d(8)
    norm(module, x)
    assert module.running_var is not None
    assert torch.allclose(module.running_var, 0.9 + 0.1 * x.double().var((0, 2, 3)).float(), rtol=1e-4)


@pytest.mark.parametrize("threads", [2, 3, 7])
def test_the_number_of_threads_does_not_change_a_bit(threads: int) -> None:
    before = torch.get_num_threads()
    results = []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            torch.manual_seed(0)
            module, x = make_norm(48), activations(16, 48, 12, 12).requires_grad_()
            y = norm(module, x, activations(16, 48, 12, 12))
            y.backward(activations(16, 48, 12, 12))
            results.append([y, x.grad, module.weight.grad, module.running_mean, module.running_var])
    finally:
        torch.set_num_threads(before)
    for one, several in zip(*results, strict=True):
        assert torch.equal(one, several)


def test_evaluation_uses_the_running_statistics() -> None:
    torch.manual_seed(0)
    module = make_norm(16)
    for _ in range(20):
        norm(module, activations(8, 16, 4, 4) * 2 + 1)
    x = activations(8, 16, 4, 4)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        y = norm(module.eval(), x)
    assert relative_error(y, exact(module, x, None, True)[0]) < 4e-3
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_a_cumulative_average_of_the_statistics() -> None:
    torch.manual_seed(0)
    module, reference = nn.BatchNorm2d(8, momentum=None), nn.BatchNorm2d(8, momentum=None)
    for _ in range(3):
        x = activations(4, 8, 6, 6)
        norm(module, x)
        reference(x)
    torch.testing.assert_close(module.running_mean, reference.running_mean, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(module.running_var, reference.running_var, rtol=1e-3, atol=1e-4)


def test_a_nan_stays_one() -> None:
    x = activations(2, 4, 2, 2)
    x[0, 1, 0, 0] = torch.nan
    y = norm(nn.BatchNorm2d(4), x)
    assert y[:, 1].isnan().all()
    assert not y[:, [0, 2, 3]].isnan().any()


@pytest.mark.parametrize("kind", ["instance", "no-affine", "contiguous", "float32", "eval-with-gradient"])
def test_what_the_kernels_cannot_do_torch_does(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same call without kernels gives the same bits: they were not used."""
    torch.manual_seed(0)
    module: nn.Module = make_norm(8)
    x = activations(2, 8, 4, 4)
    if kind == "instance":
        module = nn.InstanceNorm2d(8)
    elif kind == "no-affine":
        module = nn.BatchNorm2d(8, affine=False)
    elif kind == "contiguous":
        x = x.contiguous()
    elif kind == "float32":
        x = x.float()
    else:
        module.eval()
        x.requires_grad_()
    y = norm(module, x, x)
    monkeypatch.setattr(compiled, "kernels", None)
    assert torch.equal(y, torch.relu(module(x) + x))


def test_a_gradient_that_is_asked_for_is_the_whole_one() -> None:
    y = norm(make_norm(8), activations(2, 8, 4, 4).requires_grad_())
    y.retain_grad()
    (y.float().sum() + 2 * second_use(y).float().sum()).backward()
    assert y.grad is not None
    assert (y.grad == 3).all()
