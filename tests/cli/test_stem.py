"""Which stem a network gets."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedline import Dataset
from feedline.model import resnet18
from feedline.training import checkpoint
from tests.cli.commands import QUICK, refused, run, train
from tests.training.conftest import small_model


class Stems:
    """A small network that takes a stem, and what it was asked for."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, classes: int, *, stem: str = "neither") -> nn.Module:
        self.seen.append(stem)
        side = 3 if stem == "small" else 7
        return nn.Sequential(nn.Conv2d(3, 3, side, padding=side // 2), small_model(classes))


def first_line(capsys: pytest.CaptureFixture[str]) -> str:
    return next(line for line in capsys.readouterr().out.splitlines() if "batches of" in line)


@pytest.mark.parametrize(
    ("flags", "stem", "said"),
    [
        (["--image-size", "96"], "small", "; stem small (3x3)"),
        (["--image-size", "97"], "standard", "; stem standard (7x7, max-pool)"),
        (["--image-size", "112@0,16@1"], "standard", "; stem standard (7x7, max-pool)"),
        (["--image-size", "16", "--eval-size", "112"], "small", "; stem small (3x3)"),
        (["--image-size", "16", "--stem", "standard"], "standard", "; stem standard (7x7, max-pool)"),
        (["--image-size", "112", "--stem", "small"], "small", "; stem small (3x3)"),
    ],
)
def test_auto_goes_by_the_largest_side_of_training(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], flags: list[str], stem: str, said: str
) -> None:
    """It is said, kept, and built again for an evaluation at any size and for a resumed run."""
    network = Stems()
    quick = ["--fraction", "0.4"]
    assert run("train", dataset, *quick, *flags, "--out", "runs/a", network=network) == 0
    assert first_line(capsys).endswith(said)
    assert checkpoint.load(Path("runs/a/best.pt")).config.model.stem == stem
    assert json.loads(Path("runs/a/run.json").read_text())["config"]["stem"] == stem
    for size in ("16", "112"):
        argv = ["--checkpoint", "runs/a/best.pt", "--eval-size", size, "--out", "runs/e"]
        assert run("eval", dataset, *argv, network=network) == 0
        assert first_line(capsys).endswith(said)
    Path("runs/a/summary.json").unlink()
    again = ["--stem", "auto"] if "--stem" not in flags else []
    assert train("--mode", "train", "--resume", "runs/a", *again, network=network) == 0
    assert network.seen == [stem] * 4


def test_the_other_modes_build_the_network_that_is_trained(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    network, sizes = Stems(), ["--image-size", "112@0,16@1"]
    assert run("lrfind", dataset, *sizes, "--out", "runs/l", network=network) == 0
    assert first_line(capsys).endswith("; stem standard (7x7, max-pool)")
    few = ["--store", "raw", "--engine", "torch", "--rounds", "1", "--seconds", "0.01", "--out", "runs/b"]
    assert run("bench", dataset, *sizes, *few, network=network) == 0
    assert first_line(capsys).endswith("; stem standard (7x7, max-pool)")
    assert network.seen == ["standard"] * 2


def test_a_rate_is_that_of_the_stem(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Named or automatic; older tests have it among their settings only."""
    network, same = Stems(), ["--batch-size", "16"]
    assert run("lrfind", dataset, *same, "--stem", "standard", "--out", "runs/l", network=network) == 0
    command = ["--mode", "train", "--data", str(dataset.root), *QUICK, *same, "--epochs", "1", "--max-lr", "auto"]
    line = refused(capsys, *command, "--out", "runs/a", network=network)
    assert "(the test in runs/l has --stem standard, not --stem small)" in line
    file = Path("runs/l/lr_range.json")
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "stem"}))
    assert train(*command, "--stem", "standard", "--out", "runs/a", network=network) == 0
    assert run("lrfind", dataset, *same, "--out", "runs/m", network=network) == 0
    assert train(*command, "--out", "runs/b", network=network) == 0
    assert train(*command, "--stem", "small", "--out", "runs/c", network=network) == 0


def test_a_checkpoint_from_before_there_were_two_has_the_small_one(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    network, sizes = Stems(), ["--image-size", "112", "--fraction", "0.4"]
    assert run("train", dataset, *sizes, "--stem", "small", "--out", "runs/a", network=network) == 0
    content: dict[str, Any] = torch.load("runs/a/last.pt", weights_only=True)
    del content["config"]["stem"]
    torch.save(content, "runs/a/last.pt")
    assert run("eval", dataset, "--checkpoint", "runs/a/last.pt", "--out", "runs/e", network=network) == 0
    assert "; stem small (3x3)" in capsys.readouterr().out
    Path("runs/a/summary.json").unlink()
    assert train("--mode", "train", "--resume", "runs/a", network=network) == 0
    assert network.seen == ["small"] * 3


def test_a_network_without_the_keyword_gets_none(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither from `auto` nor from a recipe; a flag is refused, or passed to one that takes anything."""
    options = []

    def takes_anything(classes: int, **others: Any) -> nn.Module:
        options.append(others)
        return small_model(classes)

    Path("mine.toml").write_text("stem = 'small'\n")
    quick = ["--image-size", "112", "--fraction", "0.4"]
    for network in (small_model, takes_anything):
        for flags in ([], ["--recipe", "mine.toml", "--epochs", "1", "--max-lr", "0.01"]):
            out = f"runs/{network.__name__}-{len(flags)}"
            assert run("train", dataset, *quick, *flags, "--out", out, network=network) == 0
            assert "stem" not in first_line(capsys)
            assert run("eval", dataset, "--checkpoint", f"{out}/best.pt", "--out", "runs/e", network=network) == 0
    assert options == [{}] * 4
    argv = ["--mode", "train", "--data", str(dataset.root), "--recipe", "demo", "--batch-size", "8", "--stem", "small"]
    assert "--stem small: this network does not take it" in refused(capsys, *argv, network=small_model)
    flags = [*quick, "--stem", "standard", "--out", "runs/f"]
    assert run("train", dataset, *flags, network=takes_anything) == 0
    assert run("eval", dataset, "--checkpoint", "runs/f/best.pt", "--out", "runs/e", network=takes_anything) == 0
    assert options[4:] == [{"stem": "standard"}] * 2


def test_the_tables_of_the_assignment_and_of_your_photos(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """The assignment's network has the small stem at 224 too; a network for other photos of that size has not."""
    for recipe in ([], ["--recipe", "assignment"]):
        assert train("--mode", "summary", "--image-size", "224", *recipe, network=resnet18) == 0
        out = capsys.readouterr().out
        assert "Linear-49 " in out
        assert "Total params: 11,271,432" in out
    data = ["--mode", "summary", "--data", str(dataset.root), "--image-size", "224"]
    assert train(*data, network=resnet18) == 0
    out = capsys.readouterr().out
    assert "MaxPool2d-3           [-1, 64, 56, 56]" in out
    assert "Total params: 11,178,564" in out
