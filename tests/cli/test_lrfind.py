"""The LR range test, as a user calls it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from feedline import Dataset
from feedline.cli.modes import lrfind
from tests.cli.commands import QUICK, refused, run, train
from tests.cli.folders import dataset_of
from tests.conftest import convert


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


@pytest.mark.parametrize("more", [[], ["--batch-size", "32"], ["--batch-size", "2"]])
def test_a_handful_of_images_gives_no_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str]) -> None:
    """Whatever the batch: in a hundred steps they would be learned by heart at any rate."""
    dataset = dataset_of(tmp_path, {"a": 16, "b": 15}, {"a": 2, "b": 2})
    argv = ["--mode", "lrfind", "--data", str(dataset.root), "--image-size", "16", "--split", "official", *more]
    line = refused(capsys, *argv, "--out", "r/l")
    assert "31 images to train on, too few for an LR range test, which takes 32; train with the recipe's rate" in line
    assert not Path("r/l").exists()


def test_a_test_that_ends_too_early_gives_no_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = dataset_of(tmp_path, {"a": 40, "b": 40}, {"a": 2, "b": 2})
    argv = ["--optimizer", "sgd", "--batch-size", "8", "--split", "official", "--out", "r/l"]
    assert run("lrfind", dataset, *argv, "--end-lr", "0.01") == 0
    out = capsys.readouterr().out
    assert "no learning rate is recommended: the loss still falls at the last rate; raise --end-lr\n" in out
    assert "->" not in out


def test_a_flat_loss_gives_no_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two classes that look the same."""
    source, gray = tmp_path / "source", Image.new("RGB", (20, 20), (128, 128, 128))
    for part, count in (("train", 40), ("val", 2)):
        for name in ("a", "b"):
            (source / part / name).mkdir(parents=True)
            for i in range(count):
                gray.save(source / part / name / f"{i}.png")
    dataset = convert(source, tmp_path / "data")
    assert run("lrfind", dataset, "--batch-size", "8", "--split", "official", "--out", "r/l") == 0
    out = capsys.readouterr().out
    assert "no learning rate is recommended" in out
    assert "--max-lr" not in out


def test_muon_is_tested_as_it_trains(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Its flags change the curve, and what is found with one is not taken for another."""
    same = ["--optimizer", "muon", "--batch-size", "8", "--split", "official"]
    curves = {}
    for flag in ("--muon-renorm", "--no-muon-renorm"):
        assert run("lrfind", dataset, *same, flag, "--out", f"r/{flag}") == 0
        curves[flag] = json.loads(Path(f"r/{flag}/lr_range.json").read_text())["loss"]
    first, second = curves.values()
    assert first[0] == second[0]
    assert first[1:40] != second[1:40]
    line = refused(
        capsys,
        *("--mode", "train", "--data", str(dataset.root), *QUICK, *same, "--muon-steps", "5"),
        *("--max-lr", "auto", "--out", "r/a"),
    )
    assert "--max-lr auto: no LR range test for this dataset" in line
    assert (
        "(the test in r/--no-muon-renorm has --muon-steps 3, not --muon-steps 5, --no-muon-renorm, not --muon-renorm)"
        in line
    )


@pytest.mark.parametrize("text", ["", "{", "[]", '{"recommended": "scaled", "suggestions": {"scaled": -1}}', None])
def test_a_damaged_test_is_passed_over_and_named(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = Path("runs/damaged/lr_range.json")
    path.parent.mkdir(parents=True)
    path.mkdir() if text is None else path.write_text(text)
    argv = ["--mode", "train", "--data", str(dataset.root), *QUICK, "--max-lr", "auto", "--out", "runs/a"]
    assert train(*argv) == 2
    said = capsys.readouterr()
    assert "skipped runs/damaged/lr_range.json: it cannot be read" in said.out
    assert "--max-lr auto: no LR range test for this dataset" in said.err


def test_a_rate_that_the_blow_up_limits_is_told_as_such() -> None:
    told = lrfind._meaning({"scaled": 0.0224, "minimum": 0.0118, "steepest": 0.00327, "valley": 0.00129})["scaled"]
    assert told == "a third of the last rate before the loss blew up, which is less than 35 times the valley"
    assert lrfind._meaning({"scaled": 0.035, "valley": 0.001})["scaled"].startswith("35 times the valley, the rule")
