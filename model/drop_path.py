"""Stochastic depth: residual branches that are skipped at random in training."""

from typing import Any

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock


class DropPath(nn.Module):
    """Sets the branch to zero for some images of a batch and scales it up for the others; in eval mode a no-op.

    Huang et al., "Deep networks with stochastic depth", ECCV 2016. torchvision's StochasticDepth in mode `row` does the
    same, but draws for this rank's images only. Here every rank draws for the global batch and takes its share, so the
    number of ranks does not change the result. The numbers come from torch's generator of the device, which
    checkpoints save.

    Args:
        probability: that an image skips the branch, in [0, 1).

    Attributes:
        rank, world_size: the share of the global batch; set by the trainer.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.rank, self.world_size = 0, 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.probability:
            return x
        images, keep = len(x), 1 - self.probability
        drawn = torch.rand(self.world_size * images, device=x.device)[self.rank * images :][:images]
        return x * ((drawn < keep) / keep).to(x.dtype)[:, None, None, None]

    def extra_repr(self) -> str:
        return f"{self.probability:g}"


class DropPathBlock(BasicBlock):
    """torchvision's BasicBlock with a `DropPath` behind its last norm; parameters and their names are the same."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.drop_path = DropPath(0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.relu(self.bn1(self.conv1(x)))
        branch = self.drop_path(self.bn2(self.conv2(branch)))
        return self.relu(branch + (x if self.downsample is None else self.downsample(x)))


def share_draws(model: nn.Module, rank: int, world_size: int) -> None:
    """Tells every `DropPath` which share of the global batch this rank has."""
    for module in model.modules():
        if isinstance(module, DropPath):
            module.rank, module.world_size = rank, world_size
