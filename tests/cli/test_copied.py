"""Commands that are printed to be copied work as they are."""

import json
import shlex
from pathlib import Path

import pytest

from feedline.convert import build
from tests.cli.commands import train
from tests.cli.folders import draw


def commands(out: str) -> list[list[str]]:
    """The commands among what was printed, without `python train.py`."""
    return [shlex.split(line)[2:] for line in out.splitlines() if line.startswith("  python ")]


def test_from_images_to_predictions_by_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """In folders whose names need quotes."""
    for name, level in (("big cat", 40), ("dog", 200)):
        draw(Path("my photos") / name, 40, level)
    argv = ["--source", "my photos", "--out", "data/my photos", "--workers", "1"]
    for _ in range(2):  # a second build does nothing, and says how to go on too
        assert build.main(argv) == 0
        said = capsys.readouterr().out
        [words] = commands(said)
        assert "train on it with:" in said
    assert train(*words, "--epochs", "1", "--image-size", "16", "--out", "runs/a run") == 0
    said = capsys.readouterr().out
    evaluate, predict = commands(said)
    assert "evaluate it with:" in said
    assert "classify images with:" in said
    assert train(*evaluate, "--out", "e") == 0
    best = json.loads(Path("runs/a run/summary.json").read_text())["best"]
    assert json.loads(Path("e/eval.json").read_text())["top1"] == pytest.approx(best["val_top1"], abs=1e-3)
    capsys.readouterr()
    assert train(*predict) == 0
    out = capsys.readouterr().out
    assert predict[-1] in out
    assert "dog" in out


def test_quiet_says_the_result_only(capsys: pytest.CaptureFixture[str]) -> None:
    for name, level in (("a", 40), ("b", 200)):
        draw(Path("source") / name, 20, level)
    assert build.main(["--source", "source", "--out", "data", "--workers", "1", "--quiet"]) == 0
    assert train("--mode", "train", "--data", "data", "--epochs", "1", "--image-size", "16", "--quiet") == 0
    said = capsys.readouterr().out
    assert "best val top-1" in said
    assert not commands(said)
