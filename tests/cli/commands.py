"""Commands with a small network, because ResNet18 takes minutes on a CPU."""

from collections.abc import Callable

import pytest
from torch import nn

from feedline import Dataset
from feedline.cli.main import main
from tests.training.conftest import small_model

SMALL = ["--recipe", "demo", "--batch-size", "8", "--image-size", "16", "--device", "cpu", "--amp"]
QUICK = [*SMALL, "--epochs", "2"]  # for train and lrfind


def train(*argv: str, network: Callable[[int], nn.Module] = small_model) -> int:
    """`python train.py ...`; returns the exit status."""
    return main(argv, network=network)


def run(mode: str, dataset: Dataset, *argv: str, network: Callable[[int], nn.Module] = small_model) -> int:
    """Runs a mode on a dataset, with small sizes, and a recipe unless a run has its own."""
    sizes = QUICK if mode in ("train", "lrfind") else SMALL[2:] if mode == "eval" else SMALL
    return train("--mode", mode, "--data", str(dataset.root), *sizes, *argv, network=network)


def refused(capsys: pytest.CaptureFixture[str], *argv: str, network: Callable[[int], nn.Module] = small_model) -> str:
    """Runs a command that must exit with status 2; returns its one line of error."""
    capsys.readouterr()
    assert train(*argv, network=network) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]
