"""A run of the small network."""

from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import run


@pytest.fixture(autouse=True)
def in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def trained(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on the small sample: an average of weights, float32, at 16x16."""
    out = tmp_path_factory.mktemp("runs") / "a"
    assert run("train", dataset, "--split", "official", "--no-amp", "--ema", "0.5", "--out", str(out)) == 0
    return out


@pytest.fixture(scope="session")
def trained_on_photos(varied: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on images of all sizes."""
    out = tmp_path_factory.mktemp("runs") / "p"
    assert run("train", varied, "--no-amp", "--out", str(out)) == 0
    return out
