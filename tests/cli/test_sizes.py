"""Image sizes on the command line: by epoch, and in evaluation."""

import json
import re
from pathlib import Path

import pytest
import torch

from feedline import Dataset
from feedline.training import checkpoint
from tests.cli.commands import refused, run, train


def size_line(out: str) -> str:
    """The first line of a mode: what its loader feeds."""
    return next(line for line in out.splitlines() if "batches of" in line)


def test_training_with_sizes_of_its_own(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """The first lines name all sizes. Evaluation repeats the number of the run, at another size on request."""
    argv = ["--image-size", "16@0, 24@1", "--eval-size", "32", "--out", "runs/a"]
    assert run("train", dataset, *argv) == 0
    out = capsys.readouterr().out
    assert ", 16x16, 24x24 from epoch 2, evaluated at 32x32, " in size_line(out)
    assert "epoch 2/2: images of 24x24 from here on" in out
    snapshot = checkpoint.load(Path("runs/a/best.pt"))
    assert (snapshot.image_size, snapshot.config.loader.eval_size) == ([32, 32], 32)
    config = json.loads(Path("runs/a/summary.json").read_text())["config"]
    assert (config["image_size"], config["eval_size"]) == ("16@0,24@1", 32)

    command = ["--checkpoint", "runs/a/best.pt", "--image-size", "16@0,24@1"]
    assert run("eval", dataset, *command, "--out", "runs/same") == 0
    out = capsys.readouterr().out
    assert ", 32x32, " in size_line(out)
    assert "in training at" not in out
    evaluation = json.loads(Path("runs/same/eval.json").read_text())
    best = json.loads(Path("runs/a/summary.json").read_text())["best"]
    assert evaluation["top1"] == pytest.approx(best["val_top1"], abs=1e-3)
    assert evaluation["loss"] == pytest.approx(best["val_loss"], abs=1e-4)
    assert evaluation["image_size"] == [32, 32]
    for flags in (["--eval-size", "40"], ["--image-size", "40"], ["--image-size", "16@0,40@1"]):
        assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", *flags, "--out", "runs/other") == 0
        out = capsys.readouterr().out
        assert out.count("\nevaluated at 40x40, in training at 32x32\n") == 1
        assert json.loads(Path("runs/other/eval.json").read_text())["image_size"] == [40, 40]


def test_the_other_modes_take_the_last_size(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--image-size", "16@0,24@1"]
    assert run("lrfind", dataset, *sizes, "--out", "runs/l") == 0
    assert ", 24x24, " in size_line(capsys.readouterr().out)
    assert run("train", dataset, *sizes, "--max-lr", "auto", "--out", "runs/t") == 0, "finds the test of these sizes"
    capsys.readouterr()
    few = ["--store", "raw", "--engine", "torch", "--rounds", "1", "--seconds", "0.01", "--out", "runs/b"]
    assert run("bench", dataset, *sizes, *few) == 0
    assert ", 24x24, " in size_line(capsys.readouterr().out)


def test_wrong_sizes_are_refused_in_one_line(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--mode", "train", "--data", str(dataset.root), "--recipe", "demo"]
    line = refused(capsys, *data, "--image-size", "24@2")
    assert line == "train.py: --image-size 24@2: must be a side for the first epoch too, as 24@0"
    assert refused(capsys, *data, "--eval-size", "4") == "train.py: --eval-size 4: must be at least 8 and at most 8192"
    run("train", dataset, "--out", "runs/a")
    line = refused(capsys, "--mode", "train", "--resume", "runs/a", "--eval-size", "32")
    assert "--eval-size 32: the run was started without --eval-size" in line


def test_epochs_without_evaluation_are_told(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "3", "--eval-every", "2", "--out", "runs/a") == 0
    assert "evaluated after 2 of 3 epochs: 2, 3\n" in capsys.readouterr().out
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), "--eval-every", "-1")
    assert line == "train.py: --eval-every -1: must be at least 0 and below 1,000,000"


KEEP = ["--norm-images", "0"]


def test_eval_takes_norm_statistics_again_where_they_do_not_hold(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """For another size, or when asked to; else the checkpoint has those that gave its number."""
    assert run("train", dataset, "--norm-images", "24", "--out", "runs/a") == 0
    best = json.loads(Path("runs/a/summary.json").read_text())["best"]
    losses = []
    for flags in (
        [],
        ["--eval-size", "24"],
        ["--eval-size", "24", "--norm-images", "0"],
        ["--norm-images", "48"],
        KEEP,
    ):
        capsys.readouterr()
        assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", *flags, "--out", "runs/e") == 0
        told = "norm statistics of" in capsys.readouterr().out
        assert told == (flags in (["--eval-size", "24"], ["--norm-images", "48"]))
        losses.append(json.loads(Path("runs/e/eval.json").read_text())["loss"])
    assert losses[0] == pytest.approx(best["val_loss"], abs=1e-4)
    assert len(set(losses)) == 5


def test_other_uses_say_that_they_keep_norm_statistics(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--norm-images", "24", "--epochs", "1", "--out", "runs/a") == 0
    image = str(dataset.root / dataset.path(0))
    for flags, told in (([], False), (["--eval-size", "24"], True), (["--eval-size", "16"], False)):
        capsys.readouterr()
        assert train("--mode", "predict", "--device", "cpu", image, *flags) == 0
        assert ("at 24x24 with norm statistics of 16x16, those of the run" in capsys.readouterr().err) is told


def test_eval_takes_norm_statistics_where_a_checkpoint_has_none(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one that was saved between evaluations."""
    assert run("train", dataset, "--norm-images", "24", "--out", "runs/a") == 0
    content = torch.load("runs/a/last.pt", weights_only=True)
    torch.save({**content, "norms": None}, "runs/a/between.pt")
    capsys.readouterr()
    assert run("eval", dataset, "--checkpoint", "runs/a/between.pt", "--out", "runs/e") == 0
    assert "norm statistics of 24 train images" in capsys.readouterr().out
    flags = ("--checkpoint", "runs/a/last.pt", "--image-size", "17", "--norm-images", "5000", "--out", "runs/f")
    assert run("eval", dataset, *flags) == 0
    told = re.search(r"norm statistics of ([\d,]+) train images", capsys.readouterr().out)
    assert told is not None
    assert 24 < int(told[1].replace(",", "")) <= len(dataset.ids("official", "train")), "no more than there are"
