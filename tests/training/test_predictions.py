"""What an evaluation keeps of each image."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from feedline import InputError
from feedline.training.evaluate import evaluate
from feedline.training.predictions import Predictions, write_predictions
from tests.training.conftest import Build, Make, small_model


def test_each_image_has_its_own_prediction(config: Make, trainer: Build, tmp_path: Path) -> None:
    run = trainer(config())
    model = small_model().eval()
    result = evaluate(model, run.val, run.state.step.precision)
    kept = result.predictions
    assert kept.ids.tolist() == run.val.dataset.ids.tolist()
    images = torch.cat([images for images, _ in run.val])
    with torch.no_grad():
        probabilities = model(images).softmax(1)
    assert kept.top.shape == (32, 4), "there are four classes"
    np.testing.assert_allclose(kept.probabilities, np.sort(probabilities, axis=1)[:, ::-1], atol=1e-6)
    assert kept.top[:, 0].tolist() == probabilities.argmax(1).tolist()
    assert 100 * kept.correct.mean() == pytest.approx(result.top1)
    assert np.array_equal(kept.confusion(4), result.confusion)
    kept.save(tmp_path / "p.npz")
    loaded = Predictions.load(tmp_path / "p.npz")
    assert all(np.array_equal(a, b) for a, b in zip(vars(kept).values(), vars(loaded).values(), strict=True))
    write_predictions(tmp_path / "p.csv", run.val.folder, kept)
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32
    assert list(rows[0])[:5] == ["id", "path", "class", "correct", "top1"]
    for row, right, image in zip(rows, kept.correct.tolist(), kept.ids.tolist(), strict=True):
        assert row["path"] == run.val.folder.path(image)
        assert row["class"] == row["path"].split("/")[1]
        assert (row["correct"] == "1") == right == (row["top1"] == row["class"])


class AlmostEqual(nn.Module):
    """Logits that differ by less than a probability near 1/4 can show."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1e-9, 0, 3e-9, 2e-9]).expand(len(images), 4)


def test_classes_are_ranked_by_logits_where_rounding_makes_probabilities_equal(config: Make, trainer: Build) -> None:
    run = trainer(config())
    result = evaluate(AlmostEqual(), run.val, run.state.step.precision)
    assert (result.predictions.top == [2, 3, 0, 1]).all()
    assert (result.predictions.probabilities == 0.25).all()
    assert result.confusion[:, 2].sum() == result.images == 32


def test_something_else_is_no_file_of_predictions(tmp_path: Path) -> None:
    (tmp_path / "p.npz").write_bytes(b"text")
    with pytest.raises(InputError, match=r"p.npz: not the predictions of an evaluation"):
        Predictions.load(tmp_path / "p.npz")


def test_a_run_keeps_the_predictions_of_its_best_epoch(config: Make, trainer: Build, tmp_path: Path) -> None:
    run = trainer(config(epochs=2))
    summary = run.fit()
    kept = Predictions.load(tmp_path / "run/predictions.npz")
    assert 100 * kept.correct.mean() == pytest.approx(summary["best"]["val_top1"], abs=1e-3)
