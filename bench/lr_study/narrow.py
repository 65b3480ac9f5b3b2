"""ResNet18 with fewer channels: the same layers, many times as fast."""

from torch import nn
from torchvision.models.resnet import BasicBlock


def narrow_resnet18(num_classes: int, width: int) -> nn.Module:
    """ResNet18 with a 3x3 stem, as `feedline.model.resnet18`, whose stages have width to 8 * width channels.

    Args:
        num_classes: number of outputs.
        width: channels of the stem; ResNet18 has 64.

    Returns:
        A network from float [B, 3, height, width] to logits [B, num_classes].
    """
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    channels = width
    for stage in range(4):
        planes = width * 2**stage
        for stride in (2 if stage else 1, 1):
            layers.append(_block(channels, planes, stride))
            channels = planes
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
    for module in model.modules():  # as torchvision's ResNet
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _block(channels: int, planes: int, stride: int) -> BasicBlock:
    if stride == 1 and channels == planes:
        return BasicBlock(channels, planes)
    shortcut = nn.Sequential(nn.Conv2d(channels, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
    return BasicBlock(channels, planes, stride, shortcut)
