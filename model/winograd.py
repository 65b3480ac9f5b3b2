"""3x3 convolutions with 16 products instead of 36 for each 2x2 pixels (_winograd.c), for processors with AVX512_BF16.

Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016. What is multiplied are sums of up to four
pixels and of up to nine weights, rounded to bfloat16. So the error of the output is 1.7 times that of a convolution in
bfloat16, and that of the filters' gradient twice.
"""

import functools

import torch
from torch import nn

from feedline.model.compiled import buffer, kernels

CHANNELS = 64  # their numbers must be multiples of it


@functools.cache
def works() -> bool:
    """Whether kernel and processor can do it."""
    return kernels is not None and hasattr(kernels, "winograd_works") and bool(kernels.winograd_works())


def fits(module: nn.Conv2d) -> bool:
    """Whether it can compute this convolution, one that conv.py calls plain."""
    return (
        works()
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.in_channels % CHANNELS == 0
        and module.out_channels % CHANNELS == 0
        and module.weight.dtype == torch.float32
    )


def output(x: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """The convolution: bfloat16 [B, out, height, width] in channels-last memory.

    Args:
        x: bfloat16 [B, in, height, width] in channels-last memory.
        filters: float32 [out, in, 3, 3].
    """
    return _convolve(x, filters, reverse=False)


def gradient_of_input(dy: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """Bfloat16 [B, in, height, width]: a convolution too, with each filter turned by 180 degrees.

    Args:
        dy: bfloat16 [B, out, height, width] in channels-last memory.
        filters: as `output` takes them.
    """
    return _convolve(dy, filters, reverse=True)


def gradient_of_filters(dy: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Float32 [out, in, 3, 3] in channels-last memory.

    Args:
        dy, x: the output's gradient and the input, bfloat16 in channels-last memory.
    """
    assert kernels is not None
    shape = (dy.shape[1], x.shape[1], 3, 3)
    result = torch.empty(shape, dtype=torch.float32, memory_format=torch.channels_last)
    kernels.winograd_gradient(buffer(x), buffer(dy), buffer(result), _shape(x), dy.shape[1], torch.get_num_threads())
    return result


def _convolve(x: torch.Tensor, filters: torch.Tensor, *, reverse: bool) -> torch.Tensor:
    assert kernels is not None
    threads = torch.get_num_threads()
    rows = filters.detach().contiguous(memory_format=torch.channels_last)
    panels = torch.empty(16 * rows.shape[0] * rows.shape[1], dtype=torch.bfloat16)
    kernels.winograd_filters(buffer(rows), buffer(panels), (rows.shape[0], rows.shape[1]), reverse, threads)
    outputs = rows.shape[1] if reverse else rows.shape[0]
    size = (x.shape[0], outputs, x.shape[2], x.shape[3])
    y = torch.empty(size, dtype=torch.bfloat16, memory_format=torch.channels_last)
    kernels.winograd_output(buffer(x), buffer(panels), buffer(y), _shape(x), outputs, threads)
    return y


def _shape(x: torch.Tensor) -> tuple[int, int, int, int]:
    """(images, height, width, channels)."""
    return x.shape[0], x.shape[2], x.shape[3], x.shape[1]
