from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from feedline.training.class_figures import most_confused, per_class
from feedline.training.evaluate import Evaluation, evaluate
from feedline.training.predictions import Predictions
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
    assert result.top5 is None, "there are four classes"
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


def of(confusion: list[list[int]]) -> Evaluation:
    ids, top = np.empty(0, dtype=np.int64), np.empty((0, 1), dtype=np.int64)
    none = Predictions(ids, ids, top, top.astype(np.float32))
    return Evaluation(sum(map(sum, confusion)), 0.0, 0.0, None, np.array(confusion), none)


def test_per_class_and_most_confused() -> None:
    result = of([[2, 1, 0], [3, 1, 1], [0, 0, 0]])
    assert per_class(result.confusion) == [pytest.approx(200 / 3), pytest.approx(20), None]
    assert most_confused(result.confusion, 10) == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]
    assert most_confused(result.confusion, 2) == [(1, 0, 3), (0, 1, 1)]


def test_figures_over_the_classes() -> None:
    """Of classes with images only: 90 of 90 and 2 of 10, one of them taken for a class without images."""
    result = of([[90, 0, 0], [7, 2, 1], [0, 0, 0]])
    assert result.balanced == pytest.approx((100 + 20) / 2)
    assert result.macro_f1 == pytest.approx(100 * (180 / 187 + 4 / 12) / 2)
    assert result.uneven


@pytest.mark.parametrize(("sizes", "uneven"), [((50, 50), False), ((50, 49), False), ((50, 45), True)])
def test_classes_differ_in_size_by_more_than_a_few_percent(sizes: tuple[int, int], uneven: bool) -> None:
    assert of([[sizes[0], 0, 0], [0, sizes[1], 0], [0, 0, 0]]).uneven == uneven


def test_there_is_no_top5_of_five_classes(config: Make, trainer: Build) -> None:
    run = trainer(config())
    for classes, has_top5 in ((5, False), (6, True)):
        run.val.classes = classes
        top5 = evaluate(small_model(classes), run.val, run.state.step.precision).top5
        assert (top5 is not None) == has_top5


def test_the_mean_of_views_is_taken_in_float32() -> None:
    """In bf16 both classes would have the logit 1."""
    images = torch.tensor([1.0, 1.0078125]).to(torch.bfloat16).reshape(1, 1, 1, 2)
    logits = mean_logits(nn.Flatten(), images, "flip")
    assert logits.dtype == torch.float32
    assert logits.tolist() == [[1.00390625, 1.00390625]]
