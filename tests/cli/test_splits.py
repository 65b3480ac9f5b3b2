"""Which split is used where none is asked for."""

import json
from pathlib import Path

import pytest

from feedline import Dataset
from tests.cli.commands import refused, run, train
from tests.cli.folders import draw
from tests.conftest import convert

QUICK = ["--batch-size", "8", "--image-size", "16", "--epochs", "1", "--device", "cpu", "--amp", "--max-lr", "0.01"]


def settings(run: str) -> tuple[str, float | None]:
    """Split and target of a run."""
    config = json.loads((Path(run) / "run.json").read_text())["config"]
    return config["split"], config["target"]


@pytest.fixture(scope="module")
def one_split(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Without a split of its own, and with another share for val."""
    return convert(photos, tmp_path_factory.mktemp("data") / "one", "--val-fraction", "0.25")


@pytest.mark.parametrize("recipe", [[], ["--recipe", "default"], ["--recipe", "strong"]])
def test_the_split_of_the_source_unless_another_is_asked_for(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], recipe: list[str]
) -> None:
    """What a recipe says of Tiny ImageNet, split and target, does not hold for other sets."""
    start = ["--mode", "train", "--data", str(dataset.root), *recipe, *QUICK]
    assert train(*start, "--out", "runs/a") == 0
    out = capsys.readouterr().out
    assert "tiny official, 96 images" in out
    assert "target" not in out
    assert settings("runs/a") == ("official", None)
    assert train(*start, "--split", "70-30", "--target", "1", "--out", "runs/b") == 0
    assert settings("runs/b") == ("70-30", 1)


def test_the_only_split_there_is(one_split: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(one_split.root)]
    assert train("--mode", "train", *data, *QUICK, "--out", "runs/train") == 0
    assert " 75-25, 18 images, " in capsys.readouterr().out
    assert settings("runs/train") == ("75-25", None)
    assert train("--mode", "eval", *data, "--checkpoint", "runs/train/best.pt", "--split", "auto") == 0
    assert "on 6 images" in capsys.readouterr().out
    line = refused(capsys, "--mode", "train", *data, *QUICK, "--split", "70-30")
    assert line == f"train.py: --split 70-30: {one_split.root} has the split 75-25"


@pytest.mark.parametrize("name", ["tiny-imagenet", "tiny-imagenet-200"])
def test_recipes_of_tiny_imagenet_hold_for_it(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Built from the download, or from its folder."""
    source = tmp_path / name
    source.symlink_to(tiny_source)
    folder = convert(source.resolve(), tmp_path / "data").root
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps({**about, "name": name}))
    start = ["--mode", "train", "--data", str(folder), *QUICK]
    assert train(*start, "--out", "runs/a") == 0
    assert f"{name} 70-30, 88 images" in capsys.readouterr().out
    assert settings("runs/a") == ("70-30", 50)
    assert train(*start, "--recipe", "strong", "--split", "auto", "--out", "runs/b") == 0
    assert settings("runs/b") == ("official", 66)


def test_a_recipe_of_your_own_holds_for_every_set_or_the_one_that_it_names(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    start = ["--mode", "train", "--data", str(dataset.root), *QUICK, "--recipe", "mine.toml"]
    for made_for, kept in (("", True), ("made-for = 'tiny'\n", True), ("made-for = 'other'\n", False)):
        Path("mine.toml").write_text(f"{made_for}split = '70-30'\ntarget = 2\n")
        assert train(*start, "--out", f"runs/{len(made_for)}") == 0
        assert settings(f"runs/{len(made_for)}") == (("70-30", 2) if kept else ("official", None))
    Path("mine.toml").write_text("made-for = 3\n")
    assert refused(capsys, *start) == "train.py: mine.toml: made-for = 3: must be the name of a dataset"


def test_a_run_goes_on_with_the_split_that_auto_was(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--split", "auto", "--epochs", "1", "--out", "runs/a") == 0
    (Path("runs/a") / "summary.json").unlink()
    assert train("--mode", "train", "--resume", "runs/a", "--split", "auto") == 0
    assert "--split 70-30: the run was started with official" in refused(
        capsys, "--mode", "train", "--resume", "runs/a", "--split", "70-30"
    )


@pytest.mark.parametrize(
    ("split", "end"),
    [
        ("80-20", "has the splits official, 70-30"),
        ("offical", "has the splits official, 70-30; did you mean official?"),
        ("train", "has the splits official, 70-30; train is a part, which each split has"),
    ],
)
def test_a_split_that_is_not_there(dataset: Dataset, capsys: pytest.CaptureFixture[str], split: str, end: str) -> None:
    line = refused(capsys, "--mode", "train", "--data", str(dataset.root), "--split", split)
    assert line == f"train.py: --split {split}: {dataset.root} {end}"


def test_a_class_without_train_images_is_named_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part, counts in (("train", {"a": 20, "b": 20}), ("val", {"a": 3, "b": 3, "eel": 2})):
        for level, (name, count) in enumerate(counts.items()):
            draw(tmp_path / "source" / part / name, count, 40 + 70 * level)
    dataset = convert(tmp_path / "source", tmp_path / "data")
    line = "warning: 1 class without train images, which cannot be learned: eel; 2 of the 8 val images will be wrong\n"
    assert run("train", dataset, "--split", "official", "--epochs", "1", "--out", "r/a") == 0
    assert line in capsys.readouterr().out.split("epoch ")[0]
    assert run("train", dataset, "--split", "official", "--epochs", "1", "--classes", "2", "--out", "r/b") == 0
    assert "cannot be learned" not in capsys.readouterr().out
