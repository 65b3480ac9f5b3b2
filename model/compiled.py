"""The compiled kernels for training on a CPU (_kernels.c), where they were built."""

import importlib
from types import ModuleType

import torch  # first: the kernels use its threads
from torch import nn

kernels: ModuleType | None
try:
    kernels = importlib.import_module("feedline.model._kernels")
except ImportError:  # installed where there was no C compiler, or not installed at all
    kernels = None


def usable(x: torch.Tensor) -> bool:
    """Whether the kernels can work on these activations.

    They are for bfloat16 on a CPU, in channels-last memory, under autocast. torch.compile and export get torch's
    operations, which they can see into.
    """
    return (
        kernels is not None
        and type(x) is torch.Tensor
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and x.dim() == 4
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.compiler.is_compiling()
        and not torch._C._get_tracing_state()  # torch.jit.trace, which torch's ONNX exporters may use
    )


def has_hooks(module: nn.Module) -> bool:
    """Whether somebody wants to see or change what goes through a module, as weight norm and pruning do."""
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def shape_of(x: torch.Tensor) -> tuple[int, int, int, int]:
    """(images, height, width, channels) of [B, channels, height, width], as the kernels take it."""
    return x.shape[0], x.shape[2], x.shape[3], x.shape[1]


def buffer(tensor: torch.Tensor | None) -> object:
    """The memory of contiguous bfloat16 or float32 rows, as the kernels take it."""
    if tensor is None:
        return None
    rows = tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor
    return (rows.view(torch.int16) if rows.dtype == torch.bfloat16 else rows).numpy()
