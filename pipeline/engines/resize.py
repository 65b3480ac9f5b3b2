"""Resizing, as both torch engines do it."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from feedline.pipeline.cropper import crop_one


def resize(pixels: torch.Tensor, output: tuple[int, int]) -> torch.Tensor:
    """uint8 [B, h, w, 3] to uint8 [B, *output, 3], bilinear with antialiasing."""
    if pixels.shape[1:3] == output:
        return pixels
    planes = pixels.permute(0, 3, 1, 2)
    if not pixels.is_cuda:
        return interpolate(planes, output, mode="bilinear", antialias=True).permute(0, 2, 3, 1)
    planes = interpolate(planes.float(), output, mode="bilinear", antialias=True)  # a GPU resizes floats only
    return planes.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1)


def crop_and_resize(image: NDArray[np.uint8], window: Sequence[int], output: tuple[int, int]) -> torch.Tensor:
    """A window (y, x, height, width) of an image on the host, uint8 [H, W, 3], resized: uint8 [*output, 3]."""
    return resize(torch.from_numpy(crop_one(image, window))[None], output)[0]
