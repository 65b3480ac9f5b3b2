"""What the torch engines do with edits; test_agreement compares DALI with them."""

import numpy as np
import pytest
import torch

from feedline.pipeline.engines.edits import edited
from feedline.pipeline.plan.edits import Edit, nothing

MEAN = (0.5, 0.25, 1.0)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 10, 12, 3), dtype=np.uint8))


def test_edits_that_change_nothing_change_nothing(images: torch.Tensor) -> None:
    edit = Edit(**{name: nothing(name, 4) for name in ("warp", "color", "solarize", "posterize", "erase")})
    assert torch.equal(edited(images.clone(), [edit, edit], MEAN), images)


def test_erased_boxes_take_the_mean(images: torch.Tensor) -> None:
    box = nothing("erase", 4)
    box[1] = [2, 3, 4, 5]
    wanted = images.clone()
    wanted[1, 2:6, 3:8] = torch.tensor([128, 64, 255], dtype=torch.uint8)
    assert torch.equal(edited(images.clone(), [Edit(erase=box)], MEAN), wanted)


def test_colors_are_rounded_and_clamped_once(images: torch.Tensor) -> None:
    matrix = nothing("color", 4)
    matrix[2] = [[2, 0, 0, -100.4], [0, 0.5, 0.5, 0], [0, 0, -1, 255]]
    wanted = images.numpy().astype(np.float32)
    red, green, blue = np.moveaxis(wanted[2], 2, 0)
    wanted[2] = np.stack([2 * red - 100.4, (green + blue) / 2, 255 - blue], axis=2)
    done = edited(images.clone(), [Edit(color=matrix)], MEAN)
    assert done.dtype == torch.uint8
    assert np.array_equal(done.numpy(), np.clip(np.rint(wanted), 0, 255))


def test_solarize_inverts_and_posterize_keeps_bits(images: torch.Tensor) -> None:
    threshold, bits = nothing("solarize", 4), nothing("posterize", 4)
    threshold[0], bits[3] = 100, 0xE0
    done = edited(images.clone(), [Edit(solarize=threshold, posterize=bits)], MEAN)
    wanted = images.clone()
    wanted[0] = torch.where(images[0] >= 100, 255 - images[0], images[0])
    wanted[3] = images[3] & 0xE0
    assert torch.equal(done, wanted)


def test_warps_shift_turn_and_interpolate(images: torch.Tensor) -> None:
    matrix = nothing("warp", 4)
    matrix[0, :, 2] = [3, -2]  # a result's pixel comes from 3 to the right, 2 above
    matrix[1] = [[-1, 0, 12], [0, -1, 10]]  # half a turn
    matrix[2, 0, 2] = 0.5
    done = edited(images.clone(), [Edit(warp=matrix)], MEAN)
    wanted = torch.zeros_like(images[0])
    wanted[2:, :9] = images[0, :8, 3:]
    assert torch.equal(done[0], wanted)
    assert torch.equal(done[1], images[1].flip(0, 1))
    between = (images[2, :, :-1].float() + images[2, :, 1:].float()) / 2
    assert (done[2, :, :-1].float() - between).abs().max() <= 0.501
    assert torch.equal(done[3], images[3])
