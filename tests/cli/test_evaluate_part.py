"""Evaluation on the third part of a dataset."""

import json
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.convert import from_dataset
from tests.cli.commands import refused, run
from tests.convert.fake_datasets import pixels


def test_a_run_is_evaluated_on_test(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {name: [(pixels(first + i), i % 2) for i in range(count)]
             for name, first, count in (("train", 0, 40), ("val", 40, 10), ("test", 50, 7))}  # fmt: skip
    dataset = from_dataset(parts, tmp_path / "data", workers=1, progress=False)
    assert run("train", dataset, "--out", str(tmp_path / "run")) == 0
    checkpoint = str(tmp_path / "run/best.pt")
    assert run("eval", dataset, "--checkpoint", checkpoint, "--part", "test", "--out", str(tmp_path / "eval")) == 0
    result = json.loads((tmp_path / "eval/eval.json").read_text())
    assert (result["part"], result["images"]) == ("test", 7)
    assert "data test, 7 images" in capsys.readouterr().out


def test_a_dataset_without_test_images(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--out", str(tmp_path / "run")) == 0
    flags = ["--checkpoint", str(tmp_path / "run/best.pt"), "--part", "test", "--out", str(tmp_path / "eval")]
    line = refused(capsys, "--mode", "eval", "--data", str(dataset.root), *flags)
    assert "--part test" in line
    assert "has no test images" in line
    assert not (tmp_path / "eval").exists()
