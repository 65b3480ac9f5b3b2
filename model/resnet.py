"""ResNet18 for small images."""

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


def resnet18(num_classes: int) -> ResNet:
    """ResNet18 with a 3x3 stride-1 stem and no max-pool, so that a 64x64 image reaches the last stage at 8x8.

    He et al., "Deep residual learning for image recognition", CVPR 2016, built from torchvision's blocks; the stem is
    that of the paper's CIFAR networks. 11,271,432 parameters at 200 classes.

    Args:
        num_classes: outputs of the last layer.

    Returns:
        A network from float [B, 3, height, width] to logits [B, num_classes].
    """
    model = ResNet(BasicBlock, [2, 2, 2, 2], num_classes=num_classes)
    model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model
