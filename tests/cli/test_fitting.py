"""Batches that fit small sets, rates that follow the batch, and evaluation without mirror images."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.cli.fitting import batch_that_fits
from tests.cli.commands import refused, train
from tests.cli.folders import dataset_of

SMALL = ["--image-size", "16", "--device", "cpu", "--split", "official"]


def start(dataset: Dataset, *argv: str) -> int:
    """Trains with the recipe's batch; one epoch."""
    return train("--mode", "train", "--data", str(dataset.root), *SMALL, "--epochs", "1", *argv)


def config_of(out: str) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(Path(out, "run.json").read_text())["config"]
    return config


@pytest.mark.parametrize(
    ("images", "size"), [(1, 1), (5, 5), (8, 8), (42, 8), (127, 8), (128, 16), (204, 16), (280, 32), (2047, 128)]
)
def test_a_batch_that_fits(images: int, size: int) -> None:
    assert batch_that_fits(images) == size


def test_ranks_and_pairs_share_a_batch() -> None:
    assert [batch_that_fits(204, unit) for unit in (2, 3, 4, 32)] == [16, 15, 16, 32]


def test_a_small_set_gets_a_batch_and_its_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The default recipe on 204 images; the run keeps both when it is resumed."""
    dataset = dataset_of(tmp_path, {"a": 120, "b": 84}, {"a": 6, "b": 6})
    assert start(dataset, "--out", "r/a") == 0
    out = capsys.readouterr().out
    assert "batches of 16 instead of 256: 204 images give 12 steps an epoch" in out
    assert "max LR 0.0125 instead of 0.2: with sgd it changes in proportion to the batch, which is 16" in out
    assert "(12 images are left out of each epoch, others each time)" in out
    config = config_of("r/a")
    assert (config["batch_size"], config["max_lr"]) == (16, 0.2 / 16)
    last = json.loads(Path("r/a/log.jsonl").read_text().splitlines()[-1])
    assert math.isfinite(last["val_loss"])
    Path("r/a/summary.json").unlink()
    line = refused(capsys, "--mode", "train", "--resume", "r/a", "--max-lr", "0.3")
    assert "--max-lr 0.3: the run was started with" in line
    assert train("--mode", "train", "--resume", "r/a") == 0
    assert config_of("r/a") == config


@pytest.mark.parametrize(
    ("argv", "rate", "words"),
    [
        (["--batch-size", "64"], 0.05, "in proportion to the batch"),
        (["--batch-size", "64", "--max-lr", "0.2"], 0.2, None),
        (["--recipe", "assignment", "--batch-size", "64"], 0.00203 / 2, "with the square root of the batch"),
        (["--recipe", "cpu", "--batch-size", "64", "--image-size", "16"], 0.03, "with the square root of the batch"),
        (["--recipe", "demo"], 0.003, None),
    ],
)
def test_the_rate_follows_the_batch_unless_it_was_given(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], argv: list[str], rate: float, words: str | None
) -> None:
    epochs = ["--epochs", "5"] if "assignment" in argv else []
    kept = ["--batch-size", "50"] if "demo" in argv else []
    assert start(dataset, *argv, *kept, *epochs, "--eval-every", "0", "--out", "r/a") == 0
    out = capsys.readouterr().out
    assert config_of("r/a")["max_lr"] == pytest.approx(rate)
    assert (words or "max LR") in out if words else "max LR" not in out


def test_another_optimizer_than_the_recipes_is_said(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert start(dataset, "--optimizer", "adamw", "--batch-size", "16", "--out", "r/a") == 0
    out = capsys.readouterr().out
    assert "max LR 0.00075, as adamw usually has with batches of 16: the recipe's 0.2 is for sgd" in out
    assert config_of("r/a")["max_lr"] == 0.00075
    assert "weight decay 0.0005 is the recipe's for sgd; adamw mostly wants another" in out
    given = ["--max-lr", "1e-3", "--weight-decay", "0.05"]
    assert start(dataset, "--optimizer", "adamw", "--batch-size", "16", *given, "--out", "r/b") == 0
    assert "the recipe's for" not in capsys.readouterr().out
    assert start(dataset, "--optimizer", "muon", "--batch-size", "16", "--out", "r/c") == 0
    assert "weight decay" not in capsys.readouterr().out  # what it does not move by Muon it moves as SGD


def test_the_batch_of_a_recipe_that_was_made_for_the_set_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = dataset_of(tmp_path, {"a": 21, "b": 21}, {"a": 4, "b": 4})
    for made_for, batch in ((dataset.name, 14), ("other", 8)):
        Path("own.toml").write_text(f'made-for = "{made_for}"\nbatch-size = 14\nmax-lr = 0.01\n')
        assert start(dataset, "--recipe", "own.toml", "--out", made_for) == 0
        assert config_of(made_for)["batch_size"] == batch
        assert ("batches of 8 instead of 14" in capsys.readouterr().out) == (batch == 8)


def test_a_batch_that_was_given_is_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = dataset_of(tmp_path, {"a": 140, "b": 140}, {"a": 4, "b": 4})
    assert start(dataset, "--batch-size", "200", "--out", "r/a") == 0
    out = capsys.readouterr().out
    assert "instead of 256" not in out
    assert "batches of 200 (80 images are left out of each epoch, others each time)" in out
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), *SMALL, "--batch-size", "300")
    assert "--batch-size 300: only 280 images to train on; make it smaller" in line


@pytest.mark.parametrize(
    ("argv", "tta"),
    [
        (["--no-flip"], False),
        (["--augment", "pad-crop:2"], False),
        (["--no-flip", "--tta"], True),
        (["--augment", "pad-crop:2,flip"], True),
        ([], True),
    ],
)
def test_training_without_flips_is_evaluated_without(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], argv: list[str], tta: bool
) -> None:
    assert start(dataset, *argv, "--out", "r/a") == 0
    assert config_of("r/a")["tta"] == tta
    assert ("evaluation takes no mirror images either" in capsys.readouterr().out) != tta


@pytest.mark.parametrize("argv", [["--batch-size", "8"], ["--batch-size", "40", "--epochs", "2", "--peak-epoch", "1"]])
def test_very_short_runs(tmp_path: Path, argv: list[str]) -> None:
    dataset = dataset_of(tmp_path, {"a": 21, "b": 21}, {"a": 4, "b": 4})
    assert start(dataset, *argv, "--out", "r/a") == 0
