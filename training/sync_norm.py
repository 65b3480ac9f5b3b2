"""Batch norm over the batches of all ranks, so that the number of ranks does not change the result."""

from typing import Any

import torch
from torch import distributed, nn

from feedline.pipeline.errors import InputError


class _Sum(torch.autograd.Function):
    """The sum over all ranks; the gradient is summed over all ranks too."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        del ctx
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        del ctx
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


class HostSyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d on the CPU with statistics over the batches of all ranks, which must have equal size.

    torch's kernels for it run on GPUs only: see `GpuSyncBatchNorm`. In eval mode this is a plain BatchNorm2d.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = values.numel() // values.shape[1] * distributed.get_world_size()
        # Two passes, because E[x^2] - E[x]^2 in one pass loses too many digits in float32.
        mean = _Sum.apply(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            assert self.num_batches_tracked is not None
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class GpuSyncBatchNorm(nn.BatchNorm2d):
    """BatchNorm2d on a GPU with statistics over the batches of all ranks, which must have equal size.

    torch's SyncBatchNorm does the same with the same kernels, but allows for ranks without images: it counts them on
    the GPU and waits for the answer, three times a norm. Its collectives also end a compiled graph at each norm; here
    they are inside operators. In eval mode this is a plain BatchNorm2d.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        if not x.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous()
        momentum = self.momentum
        assert momentum is not None
        mean, invstd = statistics(x.detach(), self.running_mean, self.running_var, self.eps, momentum)
        out: torch.Tensor = normalised(x, self.weight, self.bias, mean, invstd, self.eps)
        return out


def _counts(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Values a channel on each rank: filled in by the GPU, which nobody waits for."""
    ranks = distributed.get_world_size()
    return torch.full((ranks,), x.numel() // x.shape[1], dtype=dtype, device=x.device)


@torch.library.custom_op("feedline::sync_statistics", mutates_args=("running_mean", "running_var"))
def statistics(
    x: torch.Tensor, running_mean: torch.Tensor, running_var: torch.Tensor, eps: float, momentum: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and 1 / standard deviation of each channel over all ranks, float32 [C] each; updates the running ones.

    One collective: each rank adds its own row to a table of zeros.
    """
    channels, rank = x.shape[1], distributed.get_rank()
    mean, invstd = torch.batch_norm_stats(x, eps)
    table = torch.zeros(distributed.get_world_size(), 2 * channels, dtype=mean.dtype, device=x.device)
    torch.cat([mean, invstd], out=table[rank])
    distributed.all_reduce(table)
    means, invstds = table.split(channels, dim=1)
    counts = _counts(x, running_mean.dtype)
    both: tuple[torch.Tensor, torch.Tensor] = torch.batch_norm_gather_stats_with_counts(
        x, means, invstds, running_mean, running_var, momentum, eps, counts
    )
    return both


@statistics.register_fake
def _(x: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return x.new_empty(x.shape[1], dtype=torch.float32), x.new_empty(x.shape[1], dtype=torch.float32)


@torch.library.custom_op("feedline::sync_normalised", mutates_args=())
def normalised(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, mean: torch.Tensor, invstd: torch.Tensor, eps: float
) -> torch.Tensor:
    """The batch, normalised. Its gradient is that of the statistics over all ranks."""
    return torch.batch_norm_elemt(x, weight, bias, mean, invstd, eps)


@normalised.register_fake
def _(x: torch.Tensor, *_: Any) -> torch.Tensor:
    return torch.empty_like(x)


@torch.library.custom_op("feedline::sync_normalised_backward", mutates_args=())
def _backward(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, mean: torch.Tensor, invstd: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of the batch, the weight and the bias. DDP averages the last two over the ranks."""
    if not gradient.is_contiguous(memory_format=torch.channels_last):
        gradient = gradient.contiguous()
    sums, sums_x, weight_gradient, bias_gradient = torch.batch_norm_backward_reduce(
        gradient, x, mean, invstd, weight, True, True, True
    )
    both = torch.cat([sums, sums_x])
    distributed.all_reduce(both)
    sums, sums_x = both.split(len(sums))
    counts = _counts(x, torch.int32)
    x_gradient = torch.batch_norm_backward_elemt(gradient, x, mean, invstd, weight, sums, sums_x, counts)
    return x_gradient, weight_gradient, bias_gradient


@_backward.register_fake
def _(_: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, *__: Any) -> tuple[torch.Tensor, ...]:
    return torch.empty_like(x), torch.empty_like(weight), torch.empty_like(weight)


def _save(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
    del output
    x, weight, _, mean, invstd, _ = inputs
    ctx.save_for_backward(x, weight, mean, invstd)


def _differentiate(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
    return *_backward(gradient, *ctx.saved_tensors), None, None, None


normalised.register_autograd(_differentiate, setup_context=_save)


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """Replaces every BatchNorm2d by a synchronized one; parameters and their names stay the same.

    Raises:
        InputError: if a norm has no weights, running statistics or momentum.
    """
    for name, child in model.named_children():
        setattr(model, name, synchronised(child, device))
    if not isinstance(model, nn.BatchNorm2d):
        return model
    if not (model.affine and model.track_running_stats and model.momentum is not None):
        raise InputError(
            "`sync_bn=True`: a BatchNorm2d of this network has no weights, running statistics or momentum, and cannot "
            "be synchronised over ranks; use `sync_bn=False`"
        )
    kind = GpuSyncBatchNorm if device.type == "cuda" else HostSyncBatchNorm
    norm = kind(model.num_features, eps=model.eps, momentum=model.momentum)
    norm.load_state_dict(model.state_dict())
    for ours, theirs in zip(norm.parameters(), model.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    return norm.train(model.training)
