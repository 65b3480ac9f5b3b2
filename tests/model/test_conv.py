"""Convolutions as matrix products, against torch's convolutions in float64."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from feedline.model import conv as conv_module
from feedline.model.conv import How, conv
from tests.model.conftest import activations, exact, needs_kernels, relative_error

pytestmark = needs_kernels


@pytest.fixture(autouse=True, params=[True, False], ids=["tiles", "no-tiles"])
def bf16_autocast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rule for AMX, and the other, which takes torch's convolutions where there is no AVX512_BF16 either."""
    monkeypatch.setattr(conv_module, "has_tiles", lambda: request.param)
    with torch.autocast("cpu", torch.bfloat16):
        yield


def layer(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    module = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return module.to(memory_format=torch.channels_last)


# Sides of 1 (a window is mostly outside the image), odd ones, height and width that differ; the widths at which the
# forward product, the data's and the weights' start to be matrix products.
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 2)])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (5, 7), (8, 6), (16, 16), (9, 18)])
@pytest.mark.parametrize("channels", [(64, 48), (64, 512), (3, 5)])
def test_values_and_gradients_are_those_of_torch(
    kernel: int, stride: int, size: tuple[int, int], channels: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    module = layer(*channels, kernel, stride)
    x = activations(3, channels[0], *size).requires_grad_()
    y = conv(module, x)
    dy = torch.randn_like(y)
    y.backward(dy)
    wanted, dx, dweight = exact(x, module.weight.bfloat16(), dy, stride)
    assert y.shape == wanted.shape
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert relative_error(y, wanted) < 5e-3
    assert relative_error(x.grad, dx) < 5e-3
    assert relative_error(module.weight.grad, dweight) < 5e-3
    assert module.weight.grad is not None
    assert module.weight.grad.dtype == torch.float32


def test_gradients_that_nobody_wants_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed, gradients = list[tuple[bool, ...]](), conv_module.gradients

    def watched(*arguments: Any) -> Any:
        results = gradients(*arguments)
        computed.append(tuple(result is not None for result in results))
        return results

    monkeypatch.setattr(conv_module, "choose", lambda *_, **__: How(forward=True, data=True, weights=True))
    monkeypatch.setattr(conv_module, "gradients", watched)
    module, x = layer(32, 32, 3, 1), activations(2, 32, 4, 4)
    conv(module, x).sum().backward()
    assert module.weight.grad is not None
    module.weight.requires_grad_(False)
    x.requires_grad_()
    conv(module, x).sum().backward()
    assert x.grad is not None
    assert computed == [(False, True), (True, False)]


def test_two_layers_may_share_the_working_memory() -> None:
    """The windows of the first layer are gathered again for its backward pass."""
    torch.manual_seed(0)
    first, second = layer(16, 64, 3, 1), layer(64, 32, 3, 2)
    x = activations(4, 16, 4, 4).requires_grad_()
    conv(second, conv(first, x)).float().square().sum().backward()
    got = [x.grad, first.weight.grad, second.weight.grad]
    x.grad = first.weight.grad = second.weight.grad = None
    second(first(x)).float().square().sum().backward()
    for value, wanted in zip(got, [x.grad, first.weight.grad, second.weight.grad], strict=True):
        assert relative_error(value, wanted) < 0.02


@pytest.mark.parametrize("change", [{"groups": 2}, {"bias": True}, {"dilation": 2, "padding": 2}, {"padding": 0}])
def test_other_convolutions_are_torchs(change: dict[str, Any]) -> None:
    options = {"padding": 1, "bias": False, **change}
    module = nn.Conv2d(8, 8, 3, **options).to(memory_format=torch.channels_last)
    x = activations(2, 8, 6, 6)
    assert torch.equal(conv(module, x), module(x))
