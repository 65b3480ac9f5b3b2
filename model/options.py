"""Options of a residual network.

Only the stem changes its parameters' number and shapes, and none changes the random numbers drawn for the rest of it.
"""

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from feedline.model.drop_path import DropPath


def blocks_of(model: nn.Module) -> list[BasicBlock]:
    """The residual blocks, in the order in which they run."""
    return [module for module in model.modules() if isinstance(module, BasicBlock)]


def set_small_stem(model: ResNet) -> None:
    """Replaces the 7x7 convolution of stride 2 and the max-pool by a 3x3 convolution."""
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()


def set_norms(model: nn.Module, *, momentum: float, eps: float) -> None:
    """Sets the share of a new batch in the running statistics, and what is added to the variance."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum, module.eps = momentum, eps


@torch.no_grad()
def zero_last_norms(model: nn.Module) -> None:
    """Lets each block start as its shortcut (Goyal et al., "Accurate, large minibatch SGD", 2017)."""
    for block in blocks_of(model):
        block.bn2.weight.zero_()


@torch.no_grad()
def start_as_identity(model: nn.Module) -> None:
    """Lets the first filters of each 3x3 convolution in a block pass their channel on; the others stay random.

    As airbench does (Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, section 3.3).
    """
    for block in blocks_of(model):
        for conv in (block.conv1, block.conv2):
            nn.init.dirac_(conv.weight[: conv.in_channels])


@torch.no_grad()
def fix_head_bias(model: ResNet) -> None:
    """Holds the bias of the last layer at zero: it gets no gradient, and no optimizer takes it."""
    model.fc.bias.zero_()
    model.fc.bias.requires_grad_(False)


def set_drop_path(model: nn.Module, probability: float) -> None:
    """Skips branches at random: never the first block's, the last block's with `probability`, linear in between."""
    drops = [module for module in model.modules() if isinstance(module, DropPath)]
    for index, drop in enumerate(drops):
        drop.probability = probability * index / max(len(drops) - 1, 1)
