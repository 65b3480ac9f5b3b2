"""The LR range test, as a user calls it."""

import json
from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import refused, run, train
from tests.cli.folders import dataset_of


@pytest.mark.parametrize(("images", "batch"), [(288, 16), (85, 4), (33, 16)])
def test_a_small_set_takes_a_hundred_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], images: int, batch: int
) -> None:
    dataset = dataset_of(tmp_path, {"a": images // 2, "b": images - images // 2}, {"a": 2, "b": 2})
    assert run("lrfind", dataset, "--batch-size", str(batch), "--split", "official", "--out", "r/l") == 0
    result = json.loads(Path("r/l/lr_range.json").read_text())
    assert result["passes"] * (images // batch) == pytest.approx(len(result["lr"]), abs=1)
    assert len(result["lr"]) > 60
    out = capsys.readouterr().out
    assert f"{len(result['lr'])} steps, {result['passes']:.1f} passes over the images" in out


def test_a_curve_without_a_rate(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Rates too low to change anything: it says so, in the file too, and so does --max-lr auto, old tests or not."""
    same = ["--batch-size", "16"]
    assert run("lrfind", dataset, *same, "--out", "r/old") == 0
    assert run("train", dataset, *same, "--max-lr", "auto", "--epochs", "1", "--out", "r/a") == 0
    assert "scaled of r/old/lr_range.json" in capsys.readouterr().out
    assert run("lrfind", dataset, *same, "--start-lr", "1e-9", "--end-lr", "1e-7", "--out", "r/new") == 0
    out = capsys.readouterr().out
    result = json.loads(Path("r/new/lr_range.json").read_text())
    assert (result["recommended"], result["suggestions"]) == (None, {})
    assert f"no learning rate is recommended: {result['reason']}" in out
    command = out.splitlines()[-1].split()
    assert "--max-lr" not in command
    assert "train with the recipe's rate:" in out
    assert (Path("r/new/lr_range.png")).read_bytes()[:4] == b"\x89PNG"
    line = refused(capsys, *command[2:], "--max-lr", "auto", "--out", "r/b")
    assert f"--max-lr auto: the LR range test in r/new recommends no rate ({result['reason']}); leave --max-lr" in line
    assert train(*command[2:], "--epochs", "1", "--out", "r/c") == 0
