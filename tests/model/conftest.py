import pytest
import torch

from feedline.model.compiled import kernels

needs_kernels = pytest.mark.skipif(kernels is None, reason="the kernels are not compiled here")


def activations(*shape: int) -> torch.Tensor:
    """Random bfloat16 [B, channels, height, width] in channels-last memory."""
    return torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last)


def relative_error(values: torch.Tensor | None, wanted: torch.Tensor | None) -> float:
    """The norm of the difference / the norm of what is wanted."""
    assert values is not None
    assert wanted is not None
    values, wanted = values.detach().double(), wanted.detach().double()
    return float((values - wanted).norm() / wanted.norm())
