"""3x3 convolutions with 16 products instead of 36 for each 2x2 pixels (_winograd.c), for processors with AVX512_BF16.

Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. What is multiplied are sums of up to four
pixels and of up to nine weights, rounded to bfloat16. For inputs as a ReLU leaves them the error of the output is 1.6
times that of a convolution in bfloat16, and that of the filters' gradient twice.
"""

import functools
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from feedline.model.compiled import buffer, kernels, shape_of

CHANNELS = 64  # their numbers must be multiples of it
PLACES = 16  # of a tile of 4x4


@functools.cache
def works() -> bool:
    """Whether kernel and processor can do it."""
    return kernels is not None and hasattr(kernels, "winograd_works") and bool(kernels.winograd_works())


def suits(module: nn.Conv2d, x: torch.Tensor) -> bool:
    """Whether it can compute a convolution that conv.py calls plain, and is faster: not for images of one pixel."""
    return (
        works()
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.in_channels % CHANNELS == 0
        and module.out_channels % CHANNELS == 0
        and module.weight.dtype == torch.float32
        and x.shape[2:].numel() > 1
    )


def conv(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """The convolution, with gradients: bfloat16 [B, out, height, width] in channels-last memory.

    Args:
        x: float [B, in, height, width] in channels-last memory.
        weight: float32 [out, in, 3, 3].
    """
    result: torch.Tensor = _Winograd.apply(x.to(torch.bfloat16), weight)
    return result


class _Winograd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        of_x, of_weight = ctx.needs_input_grad
        # Made now, since the weights may have changed by the backward pass.
        ctx.save_for_backward(x if of_weight else None, transformed(weight, reverse=True) if of_x else None)
        return convolve(x, transformed(weight, reverse=False), len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients_of_y: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        dy = gradients_of_y[0].contiguous(memory_format=torch.channels_last)
        x, reverse = ctx.saved_tensors
        inputs = x.shape[1] if reverse is None else reverse.numel() // (PLACES * dy.shape[1])
        return (
            None if reverse is None else convolve(dy, reverse, inputs),
            None if x is None else gradient_of_filters(dy, x),
        )


def transformed(weight: torch.Tensor, *, reverse: bool) -> torch.Tensor:
    """The filters as `convolve` takes them: bfloat16 [16 * out * in].

    Args:
        weight: float32 [out, in, 3, 3].
        reverse: for the gradient of the input, which is a convolution of dy with each filter turned by 180 degrees.
    """
    assert kernels is not None
    rows = weight.detach().contiguous(memory_format=torch.channels_last)
    panels = torch.empty(PLACES * weight.shape[0] * weight.shape[1], dtype=torch.bfloat16, device="cpu")
    shape = (weight.shape[0], weight.shape[1])
    kernels.winograd_filters(buffer(rows), buffer(panels), shape, reverse, torch.get_num_threads())
    return panels


def convolve(x: torch.Tensor, panels: torch.Tensor, outputs: int) -> torch.Tensor:
    """Bfloat16 [B, outputs, height, width] in channels-last memory.

    Args:
        x: bfloat16 [B, channels, height, width] in channels-last memory.
        panels: the filters, from `transformed`.
        outputs: number of channels of the result.
    """
    assert kernels is not None
    size = (x.shape[0], outputs, x.shape[2], x.shape[3])
    y = torch.empty(size, dtype=torch.bfloat16, memory_format=torch.channels_last, device="cpu")
    kernels.winograd_output(buffer(x), buffer(panels), buffer(y), shape_of(x), outputs, torch.get_num_threads())
    return y


def gradient_of_filters(dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Float32 [out, in, 3, 3] in channels-last memory.

    Args:
        dy, x: the output's gradient and the input, bfloat16 in channels-last memory.
    """
    assert kernels is not None
    shape = (dy.shape[1], x.shape[1], 3, 3)
    result = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last, device="cpu")
    kernels.winograd_gradient(buffer(x), buffer(dy), buffer(result), shape_of(x), dy.shape[1], torch.get_num_threads())
    return result
