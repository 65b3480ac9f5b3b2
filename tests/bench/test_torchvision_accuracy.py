"""The comparison with torchvision's batches: it trains, and claims nothing about what it was fed."""

import json
from pathlib import Path

import pytest

from bench.torchvision_accuracy import main
from feedline import Dataset


@pytest.mark.parametrize("more", ["pad-crop:4,alternating-flip", "pad-crop:4,flip,color-jitter", "pad-crop:4"])
def test_what_torchvision_would_not_do_is_refused(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: str
) -> None:
    words = ["--data", str(dataset.root), "--split", "official", "--augment", more, "--batch-size", "8"]
    assert main([*words, "--device", "cpu", "--out", str(tmp_path / "run")]) == 2
    assert "supports only pad-crop and flip" in capsys.readouterr().err


def test_it_trains_on_torchvisions_batches(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = f"--data {dataset.root} --split official --fraction 0.3 --augment pad-crop:4,flip"
    training = f"--batch-size 8 --epochs 1 --max-lr 0.01 --threads 1 --device cpu --out {tmp_path / 'run'}"
    assert main([*data.split(), *training.split()]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("best val top-1 ")
    assert json.loads((tmp_path / "run/summary.json").read_text())["epochs"]["evaluated"] == [1]
    steps = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert not any(step.get("stream") for step in steps)
