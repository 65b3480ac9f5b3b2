"""Batch norm over the batches of all ranks, so that the number of ranks does not change the result."""

from typing import Any

import torch
from torch import distributed, nn


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

    torch's SyncBatchNorm runs on GPUs only. In eval mode this is a plain BatchNorm2d.
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


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """Replaces every BatchNorm2d by a synchronized one; parameters and their names stay the same."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return converted
    for name, child in model.named_children():
        setattr(model, name, synchronised(child, device))
    if not isinstance(model, nn.BatchNorm2d):
        return model
    norm = HostSyncBatchNorm(model.num_features, eps=model.eps, momentum=model.momentum)
    norm.load_state_dict(model.state_dict())
    return norm.train(model.training)
