"""Edits, as both torch engines do them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from feedline.pipeline.plan.edits import NOTHING, Edit, EditPart
from feedline.pipeline.streams import to_device


def edited(pixels: torch.Tensor, edits: Sequence[Edit], mean: Sequence[float]) -> torch.Tensor:
    """Does the edits of a batch.

    Args:
        pixels: uint8 [B, height, width, 3]; may be changed.
        edits: in their order.
        mean: per channel RGB, in 0..1: what erased boxes are filled with.

    Returns:
        uint8 [B, height, width, 3].
    """
    for edit in edits:
        for name, array in edit.parts.items():
            chosen = np.flatnonzero((array != NOTHING[name]).reshape(len(array), -1).any(axis=1))
            if len(chosen) == len(array):
                pixels = _done(name, pixels, array, mean)
            elif len(chosen):  # only those images that it changes
                index = to_device(chosen, pixels.device)
                pixels.index_copy_(0, index, _done(name, pixels.index_select(0, index), array[chosen], mean))
    return pixels


def levels(mean: Sequence[float]) -> list[int]:
    """A mean, per channel in 0..1, as levels of 255."""
    return [min(max(round(255 * value), 0), 255) for value in mean]


def _done(name: EditPart, pixels: torch.Tensor, array: NDArray[Any], mean: Sequence[float]) -> torch.Tensor:
    """One part of an edit, done to all images."""
    if name == "warp":
        return _warped(pixels, array)
    values = to_device(array, pixels.device)
    if name == "color":
        flat = torch.baddbmm(values[:, None, :, 3], pixels.flatten(1, 2).float(), values[:, :, :3].transpose(1, 2))
        return _rounded(flat).view(pixels.shape)
    if name == "solarize":
        return torch.where(pixels >= values[:, None, None, None], 255 - pixels, pixels)
    if name == "posterize":
        return pixels & values[:, None, None, None]
    return _erased(pixels, values, mean)


def _warped(pixels: torch.Tensor, matrix: NDArray[Any]) -> torch.Tensor:
    height, width = pixels.shape[1:3]
    # From pixels to grid_sample's coordinates, which run from -1 to 1, and back.
    to_unit = np.array([[2 / width, 0, -1], [0, 2 / height, -1], [0, 0, 1]])
    whole = np.concatenate([matrix.astype(np.float64), np.broadcast_to([[[0, 0, 1]]], (len(matrix), 1, 3))], axis=1)
    theta = (to_unit @ whole @ np.linalg.inv(to_unit))[:, :2].astype(np.float32)
    grid = functional.affine_grid(to_device(theta, pixels.device), [len(pixels), 3, height, width], align_corners=False)
    planes = pixels.permute(0, 3, 1, 2).float()
    return _rounded(functional.grid_sample(planes, grid, align_corners=False)).permute(0, 2, 3, 1).contiguous()


def _erased(pixels: torch.Tensor, box: torch.Tensor, mean: Sequence[float]) -> torch.Tensor:
    fill = to_device(np.array(levels(mean), dtype=np.uint8), pixels.device)
    return torch.where(inside(box, pixels.shape[1], pixels.shape[2])[..., None], fill, pixels)


def inside(box: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Which pixels are inside the box of their image, int32 [B, 4], (y, x, height, width): bool [B, height, width]."""
    y, x, h, w = (v[:, None] for v in box.unbind(1))
    rows, columns = (torch.arange(size, device=box.device) for size in (height, width))
    down, across = (rows >= y) & (rows < y + h), (columns >= x) & (columns < x + w)
    return down[:, :, None] & across[:, None, :]


def _rounded(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.round_().clamp_(0, 255).to(torch.uint8)
