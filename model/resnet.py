"""ResNet18 for small images."""

import torch
from torch import nn
from torchvision.models import resnet

from feedline.model.compiled import usable
from feedline.model.conv import conv
from feedline.model.norm import norm, second_use


class BasicBlock(resnet.BasicBlock):
    """torchvision's block, with norms, ReLUs and shortcut in one go where the kernels can do it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [B, channels, height, width] to the same with the block's channels and stride."""
        if not usable(x):
            return super().forward(x)  # type: ignore[no-any-return]
        shortcut = second_use(x)
        if self.downsample is not None:
            shortcut = norm(self.downsample[1], conv(self.downsample[0], shortcut), relu=False)
        y = norm(self.bn1, conv(self.conv1, x))
        return norm(self.bn2, conv(self.conv2, y), shortcut)


class ResNet(resnet.ResNet):
    """torchvision's network, the same way."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float [B, 3, height, width] to logits [B, classes]."""
        x = self.maxpool(norm(self.bn1, conv(self.conv1, x)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        logits: torch.Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet18(num_classes: int) -> ResNet:
    """ResNet18 with a 3x3 stem of stride 1 and no max-pool: the last stage sees a 64x64 image at 8x8.

    He et al., "Deep residual learning for image recognition", CVPR 2016, built from torchvision's blocks, with
    the stem of the paper's CIFAR networks. 11,271,432 parameters with 200 classes.

    Args:
        num_classes: number of outputs.

    Returns:
        A network from float [B, 3, height, width] to logits [B, num_classes].
    """
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model
