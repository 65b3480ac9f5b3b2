"""Edits, as both torch engines do them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from feedline.pipeline.plan.edits import NOTHING, Edit, Part


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
                index = _to(pixels.device, chosen)
                pixels.index_copy_(0, index, _done(name, pixels.index_select(0, index), array[chosen], mean))
    return pixels


def levels(mean: Sequence[float]) -> list[int]:
    """A mean, per channel in 0..1, as levels of 255."""
    return [min(max(round(255 * value), 0), 255) for value in mean]


def _done(name: Part, pixels: torch.Tensor, array: NDArray[Any], mean: Sequence[float]) -> torch.Tensor:
    """One part of an edit, done to all images."""
    if name == "warp":
        return _warped(pixels, array)
    values = _to(pixels.device, array)
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
    grid = functional.affine_grid(_to(pixels.device, theta), [len(pixels), 3, height, width], align_corners=False)
    planes = pixels.permute(0, 3, 1, 2).float()
    return _rounded(functional.grid_sample(planes, grid, align_corners=False)).permute(0, 2, 3, 1).contiguous()


def _erased(pixels: torch.Tensor, box: torch.Tensor, mean: Sequence[float]) -> torch.Tensor:
    y, x, height, width = (v[:, None] for v in box.unbind(1))
    rows, columns = (torch.arange(size, device=pixels.device) for size in pixels.shape[1:3])
    down, across = (rows >= y) & (rows < y + height), (columns >= x) & (columns < x + width)
    fill = _to(pixels.device, np.array(levels(mean), dtype=np.uint8))
    return torch.where((down[:, :, None] & across[:, None, :])[..., None], fill, pixels)


def _rounded(pixels: torch.Tensor) -> torch.Tensor:
    return pixels.round_().clamp_(0, 255).to(torch.uint8)


def _to(device: torch.device, array: NDArray[Any]) -> torch.Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
