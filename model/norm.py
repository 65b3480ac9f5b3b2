"""Batch norm with what follows it in a residual network, in one go on a CPU.

torch runs the norm, the addition of the shortcut and the ReLU one after the other, forward and backward; each reads and
writes all activations, which is a third of a training step on a CPU. Here two passes do it, in each direction.
"""

from typing import Any, TypeGuard

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from feedline.model.compiled import buffer, has_hooks, kernels, usable


def norm(
    module: nn.Module, x: torch.Tensor, residual: torch.Tensor | None = None, *, relu: bool = True
) -> torch.Tensor:
    """Batch norm, plus a residual if there is one, then ReLU.

    Args:
        module: the norm.
        x: float [B, channels, height, width].
        residual: added to the norm's result; of the same shape.
        relu: whether to end with a ReLU.

    Returns:
        Float [B, channels, height, width].
    """
    if _fusible(module, x, residual):
        return _fused(module, x, residual, relu)
    y = module(x)
    if residual is not None:
        y = y + residual
    return torch.relu(y) if relu else y


def _fusible(module: nn.Module, x: torch.Tensor, residual: torch.Tensor | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether the kernels can do it: a plain BatchNorm2d, in training or without gradients."""
    return (
        type(module) is nn.BatchNorm2d
        and not has_hooks(module)
        and usable(x)
        and x.numel() > x.shape[1]  # torch refuses statistics of one value
        and module.affine
        and module.track_running_stats
        and module.weight.dtype == torch.float32
        and (module.training or not torch.is_grad_enabled())
        and x.dtype == torch.bfloat16
        and (residual is None or (residual.dtype == x.dtype and residual.shape == x.shape and usable(residual)))
    )


def second_use(x: torch.Tensor) -> torch.Tensor:
    """The same activations for a second use.

    If they came from `norm`, the two gradients are added in its backward pass instead of in one of their own. Where
    somebody wants to see their gradient, it must be the whole one.
    """
    watched = x.retains_grad or x._backward_hooks
    second: torch.Tensor = x if watched else getattr(x, "_second_use", x)
    return second


def _fused(module: nn.BatchNorm2d, x: torch.Tensor, residual: torch.Tensor | None, relu: bool) -> torch.Tensor:
    assert module.running_mean is not None
    assert module.running_var is not None
    if module.training:
        mean, variance = _statistics(module, x)
    else:
        mean, variance = module.running_mean, module.running_var
    y, second = _Fused.apply(x, residual, module.weight, module.bias, mean, (variance + module.eps).rsqrt(), relu)
    y._second_use = second
    return y


@torch.no_grad()
def _statistics(module: nn.BatchNorm2d, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of a batch, float32 [channels] each; updates the running ones as BatchNorm2d does."""
    assert kernels is not None
    assert module.num_batches_tracked is not None
    assert module.running_mean is not None
    assert module.running_var is not None
    mean, variance = torch.empty(2, module.num_features, dtype=torch.float32, device=x.device).unbind()
    kernels.norm_stats(buffer(x), buffer(mean), buffer(variance), torch.get_num_threads())
    count = x.numel() // x.shape[1]
    module.num_batches_tracked += 1
    share = 1 / int(module.num_batches_tracked) if module.momentum is None else module.momentum
    module.running_mean.lerp_(mean, share)
    module.running_var.lerp_(variance * (count / max(count - 1, 1)), share)
    return mean, variance


class _Fused(torch.autograd.Function):
    """relu((x - mean) inverse_deviation weight + bias + residual), for one use and for another."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        residual: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor,
        mean: torch.Tensor,
        inverse_deviation: torch.Tensor,
        relu: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert kernels is not None
        y = torch.empty_like(x)
        scale = weight * inverse_deviation
        shift = torch.addcmul(bias, mean, scale, value=-1)
        kernels.norm_apply(
            buffer(x), buffer(residual), buffer(y), buffer(scale), buffer(shift), relu, torch.get_num_threads()
        )
        ctx.save_for_backward(x, y, scale, shift, mean, inverse_deviation)
        ctx.has_residual, ctx.relu = residual is not None, relu
        ctx.set_materialize_grads(False)
        return y, y.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """Ioffe and Szegedy, "Batch normalization", 2015: the gradient of the norm is affine in dy and x."""
        assert kernels is not None
        x, y, scale, shift, mean, inverse_deviation = ctx.saved_tensors
        dy, dy2 = _gradients(gradients, add=not ctx.relu)
        # Without a residual the input says what passed the ReLU: one array less to read.
        output = y if dy2 is not None or ctx.has_residual else None
        known = (buffer(dy), buffer(dy2), buffer(output), buffer(x), buffer(scale), buffer(shift), ctx.relu)
        sum_g, sum_gx = torch.empty_like(mean), torch.empty_like(mean)
        threads = torch.get_num_threads()
        kernels.norm_sums(*known, buffer(mean), buffer(sum_g), buffer(sum_gx), threads)
        count = x.numel() // len(mean)
        slope = -scale * inverse_deviation.square() * sum_gx / count
        offset = -scale * sum_g / count - slope * mean
        dx = torch.empty_like(x)
        dresidual = torch.empty_like(x) if ctx.has_residual else None
        kernels.norm_gradient(
            *known, buffer(scale), buffer(slope), buffer(offset), buffer(dx), buffer(dresidual), threads
        )
        return dx, dresidual, sum_gx * inverse_deviation, sum_g, None, None, None


def _gradients(gradients: tuple[torch.Tensor | None, ...], *, add: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The gradients of the two uses, in channels-last memory; one if there was one use, or if they are to be added."""
    first, *rest = [g.contiguous(memory_format=torch.channels_last) for g in gradients if g is not None]
    if rest and add:
        return first + rest[0], None
    return first, rest[0] if rest else None
