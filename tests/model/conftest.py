import pytest
import torch
from torch.nn.functional import conv2d

from feedline.model.compiled import kernels

needs_kernels = pytest.mark.skipif(kernels is None, reason="the kernels are not compiled here")


def activations(*shape: int) -> torch.Tensor:
    """Random bfloat16 [B, channels, height, width] in channels-last memory."""
    return torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)


def exact(
    x: torch.Tensor, weight: torch.Tensor, dy: torch.Tensor, stride: int = 1
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """A convolution in float64 with padding of half the kernel: output, gradient of x, gradient of the weight."""
    with torch.autocast("cpu", enabled=False):
        x, weight = (t.detach().double().requires_grad_() for t in (x, weight))
        y = conv2d(x, weight, stride=stride, padding=weight.shape[2] // 2)
        y.backward(dy.double())
    return y, x.grad, weight.grad


def relative_error(values: torch.Tensor | None, wanted: torch.Tensor | None) -> float:
    """The norm of the difference / the norm of what is wanted."""
    assert values is not None
    assert wanted is not None
    values, wanted = values.detach().double(), wanted.detach().double()
    return float((values - wanted).norm() / wanted.norm())
