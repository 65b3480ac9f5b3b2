import math

import pytest
import torch
from torch.nn import functional

from feedline.training.evaluate import Evaluation, evaluate, most_confused, per_class
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
    mirrored = evaluate(model, run.val, run.state.step.precision, tta=True)
    with torch.no_grad():
        both = (logits + model(images.flip(3))) / 2
    assert mirrored.loss == pytest.approx(functional.cross_entropy(both, labels).item(), rel=1e-5)


def test_per_class_and_most_confused() -> None:
    result = Evaluation(9, 0.0, 0.0, 0.0, torch.tensor([[2, 1, 0], [3, 1, 1], [0, 0, 0]]))
    assert per_class(result)[:2] == pytest.approx([200 / 3, 20])
    assert math.isnan(per_class(result)[2])
    assert most_confused(result) == [(1, 0, 3), (0, 1, 1), (1, 2, 1)]
