"""ResNet18 for small images."""

from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet


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
