"""Convolutions on a CPU in other ways than torch's, where they are faster.

oneDNN's convolutions work on one row of an image at a time. In the deep stages of a network for small images a row has
three to eight pixels, and most of an AMX tile stays empty: the gradient of the weights of a 512-channel layer runs at a
tenth of the speed of a matrix product of that size. There the windows of all pixels are gathered into a matrix first.

Without AMX the multiplications are what takes the time. Where Winograd's algorithm (winograd.py) can do it, it needs
fewer; deep convolutions with a stride are matrix products there too.
docs/performance.md has the measurements that the rules below come from.
"""

import functools
import threading
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d

from feedline.model import winograd
from feedline.model.compiled import buffer, has_hooks, kernels, shape_of, usable


def conv(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A convolution.

    Args:
        module: the convolution.
        x: float [B, channels, height, width].

    Returns:
        Float [B, output channels, height / stride, width / stride], rounded up.
    """
    if len(x) and usable(x) and _is_plain(module) and _takes(module, x):
        if not has_tiles() and winograd.suits(module, x):
            return winograd.conv(x, module.weight)
        how = choose(module, (x.shape[3] - 1) // module.stride[1] + 1, tiles=has_tiles())
        if how.forward or (how.backward and torch.is_grad_enabled()):
            result: torch.Tensor = _Products.apply(x.to(torch.bfloat16), module.weight, module.stride[0], how)
            return result
    output: torch.Tensor = module(x)
    return output


@dataclass(frozen=True)
class How:
    """Which of a convolution's products are faster as matrix products: the output, and the two gradients."""

    forward: bool
    data: bool
    weights: bool

    @property
    def backward(self) -> bool:
        return self.data or self.weights


def choose(module: nn.Conv2d, width: int, *, tiles: bool) -> How:
    """A fixed rule and not a measurement at the start, so that the same run gives the same bits.

    Args:
        module: as `_is_plain` wants it.
        width: of the output in pixels.
        tiles: whether the processor has AMX. The rule for others was measured with AVX512_BF16.
    """
    strided, single = module.stride[0] > 1, module.kernel_size == (1, 1)
    if tiles:
        return How(
            forward=width <= 4 or (width <= 8 and strided),
            data=width <= 4 or (width <= 8 and (strided or module.out_channels >= 512)) or single,
            weights=width <= 8,
        )
    if not winograd.works():
        return How(forward=False, data=False, weights=False)
    return How(
        forward=width == 1 or (strided and (width <= 4 or single)),
        data=width == 1 or (strided and (width <= 4 or single)),
        weights=width == 1 or (strided and (width <= 4 or (width <= 8 and not single))),
    )


@functools.cache
def has_tiles() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in tiles (AMX)."""
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _is_plain(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """3x3, or 1x1 with a stride (without one it is a matrix product already), and nothing unusual."""
    if type(module) is not nn.Conv2d or module.bias is not None or has_hooks(module):
        return False
    kernel, stride = module.kernel_size[0], module.stride[0]
    return (
        module.kernel_size in ((3, 3), (1, 1))
        and (kernel > 1 or stride > 1)
        and module.padding == (kernel // 2, kernel // 2)
        and module.stride == (stride, stride)
        and module.dilation == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
    )


def _takes(module: nn.Conv2d, x: torch.Tensor) -> bool:
    """Whether the weights are as the module says, and fit to x; else torch knows what to do, or to say."""
    weight = module.weight
    return (
        weight.shape == (module.out_channels, module.in_channels, *module.kernel_size)
        and x.shape[1] == module.in_channels
        and weight.device.type == "cpu"
        and all(t.dtype in (torch.float32, torch.bfloat16) for t in (weight, x))
    )


class _Products(torch.autograd.Function):
    """A convolution in bfloat16 whose products are matrix products where `how` says so."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: int, how: How) -> torch.Tensor:
        filters = weight.to(dtype=x.dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x, filters)
        ctx.stride, ctx.how = stride, how
        return output(x, filters, stride, how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients_of_y: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        dy = gradients_of_y[0].contiguous(memory_format=torch.channels_last)
        x, filters = ctx.saved_tensors
        dx, dweight = gradients(dy, x, filters, ctx.stride, ctx.how, ctx.needs_input_grad[:2])
        return dx, None if dweight is None else dweight.float(), None, None


def output(x: torch.Tensor, filters: torch.Tensor, stride: int, how: How) -> torch.Tensor:
    """The convolution's output: bfloat16 [B, out, height, width].

    Args:
        x: bfloat16 [B, in, height, width] in channels-last memory.
        filters: bfloat16 [out, in, kernel, kernel] in channels-last memory.
        stride: in pixels, in both directions.
        how: which product to use.
    """
    kernel = filters.shape[2]
    if not how.forward:
        return conv2d(x, filters, stride=stride, padding=kernel // 2)
    height, width = ((side - 1) // stride + 1 for side in x.shape[2:])
    y = torch.mm(_gather(x, kernel, stride), _matrix(filters).t())
    return y.view(len(x), height, width, -1).permute(0, 3, 1, 2)


def gradients(
    dy: torch.Tensor, x: torch.Tensor, filters: torch.Tensor, stride: int, how: How, wanted: tuple[bool, ...]
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """The gradients of input and filters, each if wanted, in their shapes and in bfloat16.

    Args:
        dy: the output's gradient, in channels-last memory.
        x, filters, stride, how: as `output` takes them.
        wanted: whether the input's gradient is wanted, and whether the filters' is.
    """
    kernel, dx, dfilters = filters.shape[2], None, None
    if wanted[0] and how.data:
        dx = _scatter(torch.mm(_rows(dy), _matrix(filters), out=_scratch(dy, filters)), x, kernel, stride)
    if wanted[1] and how.weights:
        product = torch.mm(_rows(dy).t().contiguous(), _gather(x, kernel, stride))
        dfilters = product.view(len(filters), kernel, kernel, -1).permute(0, 3, 1, 2)
    rest = [wanted[0] and dx is None, wanted[1] and dfilters is None, False]
    if any(rest):
        pad = [kernel // 2] * 2
        others = torch.ops.aten.convolution_backward(
            dy, x, filters, None, [stride] * 2, pad, [1, 1], False, [0, 0], 1, rest
        )
        dx, dfilters = others[0] if rest[0] else dx, others[1] if rest[1] else dfilters
    return dx, dfilters


def _rows(x: torch.Tensor) -> torch.Tensor:
    """[B, channels, height, width] in channels-last memory as [B * height * width, channels]."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _matrix(filters: torch.Tensor) -> torch.Tensor:
    """[out, in, kernel, kernel] in channels-last memory as [out, kernel * kernel * in]."""
    return filters.permute(0, 2, 3, 1).reshape(len(filters), -1)


def _gather(x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """The window of each output pixel: [B * height * width, kernel**2 * channels], valid until the next product."""
    assert kernels is not None
    images, height, width, channels = shape_of(x)
    pixels = images * ((height - 1) // stride + 1) * ((width - 1) // stride + 1)
    windows = _memory.take(pixels, kernel * kernel * channels)
    kernels.gather(buffer(x), buffer(windows), shape_of(x), kernel, stride, torch.get_num_threads())
    return windows


def _scatter(windows: torch.Tensor, x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """The reverse: what the windows hold, added up for each pixel of an input like x."""
    assert kernels is not None
    result = torch.empty_like(x)
    kernels.scatter(buffer(windows), buffer(result), shape_of(x), kernel, stride, torch.get_num_threads())
    return result


def _scratch(dy: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    return _memory.take(dy.numel() // dy.shape[1], filters.numel() // len(filters))


class _Memory(threading.local):
    """Memory for windows, kept from one product to the next: the system fills new memory with zeros first."""

    def __init__(self) -> None:
        self._values = torch.empty(0, dtype=torch.bfloat16, device="cpu")

    def take(self, rows: int, columns: int) -> torch.Tensor:
        """bfloat16 [rows, columns]; ends the use of what was taken before."""
        if len(self._values) < rows * columns:
            with torch.inference_mode(False):  # training will write to it too
                self._values = torch.empty(rows * columns, dtype=torch.bfloat16, device="cpu")
        return self._values[: rows * columns].view(rows, columns)


_memory = _Memory()
