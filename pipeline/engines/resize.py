"""Resizing, as both torch engines do it."""

import torch
from torch.nn.functional import interpolate


def resize(pixels: torch.Tensor, output: tuple[int, int]) -> torch.Tensor:
    """uint8 [B, h, w, 3] to uint8 [B, *output, 3], bilinear with antialiasing."""
    if pixels.shape[1:3] == output:
        return pixels
    planes = pixels.permute(0, 3, 1, 2)
    if not pixels.is_cuda:
        return interpolate(planes, output, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    planes = interpolate(planes.float(), output, mode="bilinear", antialias=True)  # a GPU resizes floats only
    return planes.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
