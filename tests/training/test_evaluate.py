import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from feedline.training.evaluate import Evaluation, evaluate, most_confused, per_class
from feedline.training.views import mean_logits
from tests.training.conftest import Build, Make, small_model


def test_evaluation_counts_every_image_once(config: Make, trainer: Build) -> None:
    run = trainer(config())
    model = small_model().eval()
    result = evaluate(model, run.val, run.state.step.precision)
    images = torch.cat([images for images, _ in run.val])
    labels = torch.cat([labels for _, labels in run.val])
    with torch.no_grad():
        logits = model(images)
    assert result.images == len(labels) == 32
    assert result.top1 == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())
    assert result.top5 == 100
    assert result.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert result.confusion.sum() == 32
    assert result.confusion[1, 2] == ((labels == 1) & (logits.argmax(1) == 2)).sum()
    mirrored = evaluate(model, run.val, run.state.step.precision, views="flip")
    with torch.no_grad():
        both = (logits + model(images.flip(3))) / 2
    assert mirrored.loss == pytest.approx(functional.cross_entropy(both, labels).item(), rel=1e-5)


def test_crops_are_six_views_of_which_the_unshifted_ones_weigh_half() -> None:
    images = torch.randn(2, 3, 6, 8).to(memory_format=torch.channels_last)
    seen: list[torch.Tensor] = []

    class Watching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(images)
            return images.mean((2, 3)) ** 2

    logits = mean_logits(Watching(), images, "crops")
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in seen)
    left, right = torch.zeros_like(images), torch.zeros_like(images)
    for shifted, by in ((left, 1), (right, -1)):  # the edge's neighbour comes in, as in a mirror
        rows, columns = torch.arange(6) + by, torch.arange(8) + by
        rows, columns = 5 - (5 - rows.abs()).abs(), 7 - (7 - columns.abs()).abs()
        shifted[:] = images[:, :, rows[:, None], columns]
    wanted = [images, images.flip(3), left, left.flip(3), right, right.flip(3)]
    assert [torch.equal(a, b) for a, b in zip(seen, wanted, strict=True)] == [True] * 6
    weights = (1 / 4, 1 / 4, 1 / 8, 1 / 8, 1 / 8, 1 / 8)
    mean = sum(w * view.mean((2, 3)) ** 2 for w, view in zip(weights, wanted, strict=True))
    torch.testing.assert_close(logits, mean)


@pytest.mark.parametrize(
    ("values", "views"),
    [
        ({}, None),
        ({"tta": True}, "flip"),
        ({"tta": True, "tta_views": "crops"}, "crops"),
        ({"tta_views": "crops"}, None),
    ],
)
def test_views_are_for_tta(config: Make, values: dict[str, Any], views: str | None) -> None:
    assert config(**values).run.views == views


def test_per_class_and_most_confused() -> None:
    result = Evaluation(9, 0.0, 0.0, 0.0, torch.tensor([[2, 1, 0], [3, 1, 1], [0, 0, 0]]))
    assert per_class(result)[:2] == pytest.approx([200 / 3, 20])
    assert math.isnan(per_class(result)[2])
    assert most_confused(result) == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]
