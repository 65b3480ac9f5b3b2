"""The batch of a step, as pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset, Loader
from feedline.cli.seen import seen
from tests.cli.commands import refused, run, train


def test_a_picture_and_a_page_of_the_first_step(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("peek", dataset, "--out", "p", "--augment", "pad-crop:4,flip,erasing:p=1") == 0
    assert "step 1 (epoch 1, step 1 of 12)" in capsys.readouterr().out
    assert Image.open("p/peek.png").width > 400
    page = Path("p/peek.html").read_text()
    assert page.count("data:image/png;base64,") == 8, "a batch has eight images"
    assert page.count("erase") >= 8


def test_that_images_are_mixed_is_said(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """The pictures show what is mixed."""
    assert run("peek", dataset, "--out", "p", "--cutmix", "1") == 0
    note = "pairs of these are mixed in the step, which is not shown"
    assert note in capsys.readouterr().out
    assert note in Path("p/peek.html").read_text()


def test_it_is_the_batch_that_the_loop_gets(dataset: Dataset) -> None:
    options: dict[str, Any] = {"augment": ("random-resized-crop", "flip"), "image_size": 16, "batch_size": 8, "seed": 3}
    batches = Loader(dataset, **options, dtype=torch.uint8, with_ids=True)
    batches.set_epoch(1)
    images, labels, ids = list(batches)[5]
    shown = list(seen(Loader(dataset, **options, dtype=torch.uint8), 1, 5, images=4))
    for i, one in enumerate(shown):
        assert one.path == dataset.path(int(ids[i]))
        assert np.array_equal(one.result, images[i].permute(1, 2, 0))
        assert one.name == dataset.classes[int(labels[i])].words
        y, x, height, width = one.window
        assert one.original[y : y + height, x : x + width].shape == (height, width, 3)
    assert len(shown) == 4


def test_any_step_of_a_run(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--out", "runs/a", "--image-size", "12@0,16@1") == 0
    capsys.readouterr()
    for step, epoch, side in ((1, 1, 12), (12, 1, 12), (13, 2, 16), (24, 2, 16)):
        assert train("--mode", "peek", "--resume", "runs/a", "--step", str(step), "--out", f"p{step}") == 0
        out = capsys.readouterr().out
        assert f"step {step} (epoch {epoch}, " in out
        assert f"{side}x{side}" in out
    line = refused(capsys, "--mode", "peek", "--resume", "runs/a", "--step", "25")
    assert "--step 25: the run has the steps 1 to 24, 12 an epoch" in line
    assert "--step 0: the run has" in refused(capsys, "--mode", "peek", "--resume", "runs/a", "--step", "0")
    assert train("--mode", "peek", "--resume", "--step", "2", "--out", "runs/p") == 0, "the latest run"


def test_flags_of_training_say_which_training(dataset: Dataset) -> None:
    assert run("peek", dataset, "--out", "p", "--max-lr", "0.3", "--mixup", "0.2") == 0
    assert "mixed in the step" in Path("p/peek.html").read_text()
