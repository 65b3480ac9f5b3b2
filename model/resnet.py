"""ResNet18, with a stem for small images or the standard one."""

from typing import Literal, TypeAlias

import torch
from torch import nn
from torchvision.models import resnet

from feedline.model import options
from feedline.model.compiled import has_hooks, usable
from feedline.model.conv import conv
from feedline.model.drop_path import DropPathBlock
from feedline.model.norm import norm, second_use

Stem: TypeAlias = Literal["small", "standard"]
LARGEST_SMALL = 96  # pixels: up to here the small stem is worth its cost


class BasicBlock(resnet.BasicBlock):
    """torchvision's block, with norms, ReLUs and shortcut in one go where the kernels can do it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [B, channels, height, width] to the same with the block's channels and stride."""
        if not usable(x) or not self._is_usual():
            return super().forward(x)
        shortcut = second_use(x)
        if self.downsample is not None:
            shortcut = norm(self.downsample[1], conv(self.downsample[0], shortcut), relu=False)
        y = norm(self.bn1, conv(self.conv1, x))
        return norm(self.bn2, conv(self.conv2, y), shortcut)

    def _is_usual(self) -> bool:
        """Whether activation and shortcut are as torchvision builds them."""
        shortcut = self.downsample
        return _is_relu(self.relu) and (
            shortcut is None or (type(shortcut) is nn.Sequential and len(shortcut) == 2 and not has_hooks(shortcut))
        )


class ResNet(resnet.ResNet):
    """torchvision's network, the same way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [B, 3, height, width] to logits [B, classes]."""
        if not usable(x) or not _is_relu(self.relu):
            return super().forward(x)
        x = self.maxpool(norm(self.bn1, conv(self.conv1, x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def _is_relu(module: nn.Module) -> bool:
    return type(module) is nn.ReLU and not has_hooks(module)


def stem_for(side: int) -> Stem:
    """The stem for images of a side in pixels.

    The standard one leaves a 32nd of the side for the last stage, which is one to three pixels of a small image. The
    small one takes some 15 times as many operations: at 224 pixels 163 GFLOP an image, forward and backward, not 11.
    """
    return "small" if side <= LARGEST_SMALL else "standard"


def resnet18(
    num_classes: int,
    *,
    stem: Stem = "small",
    zero_init: bool = False,
    norm_momentum: float = 0.1,
    norm_eps: float = 1e-5,
    drop_path: float = 0.0,
    dirac_init: bool = False,
    head_bias: bool = True,
) -> ResNet:
    """ResNet18, built from torchvision's blocks.

    He et al., "Deep residual learning for image recognition", CVPR 2016. The small stem is that of the paper's CIFAR
    networks: 11,271,432 parameters with 200 classes, with any other options; the standard one has 7,680 more.

    Args:
        num_classes: number of outputs.
        stem: `small`: 3x3 with stride 1 and no max-pool, the last stage sees a 64x64 image at 8x8. `standard`: 7x7 with
            stride 2, then max-pool, the last stage sees a 224x224 image at 7x7.
        zero_init: the last norm of each block starts at 0, so the block starts as its shortcut.
        norm_momentum: share of a new batch in the norms' running statistics.
        norm_eps: what the norms add to the variance.
        drop_path: probability that an image skips the last block's branch in training; linear from 0 at the first.
        dirac_init: the first filters of the convolutions in the blocks start as the identity.
        head_bias: False holds the last layer's bias at 0.

    Returns:
        A network from float [B, 3, height, width] to logits [B, num_classes].
    """
    model = ResNet(DropPathBlock if drop_path else BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
    if stem == "small":
        options.set_small_stem(model)
    options.set_norms(model, momentum=norm_momentum, eps=norm_eps)
    if zero_init:
        options.zero_last_norms(model)
    if dirac_init:
        options.start_as_identity(model)
    if not head_bias:
        options.fix_head_bias(model)
    if drop_path:
        options.set_drop_path(model, drop_path)
    return model
