"""What an evaluation says of classes."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, Loader
from feedline.pipeline.dataset import ClassInfo
from feedline.use.names import class_name
from tests.cli.commands import refused, run, train
from tests.cli.folders import dataset_of


def test_a_class_without_val_images_has_no_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is in no list of hard or easy classes, and hides no other; the sizes of the others differ."""
    dataset = dataset_of(tmp_path, {"ape": 20, "bee": 20, "cow": 20}, {"ape": 10, "bee": 4})
    assert run("train", dataset, "--epochs", "1", "--split", "official", "--out", "runs/a") == 0
    out = capsys.readouterr().out
    assert "balanced" in out
    assert "top-5" not in out, "there are three classes"
    best = json.loads(Path("runs/a/summary.json").read_text())["best"]
    assert best["val_top5"] is None
    assert run("eval", dataset, "--checkpoint", "runs/a/best.pt", "--out", "e") == 0
    out = capsys.readouterr().out
    assert "nan" not in out
    lines = {line.partition(":")[0]: line for line in out.splitlines()}
    assert {"ape", "bee"} < set(lines["classes"].split())
    assert "hardest" not in lines, "there are few classes"
    assert lines["no images to evaluate"] == "no images to evaluate: cow"
    rows = list(csv.DictReader(Path("e/per_class.csv").read_text().splitlines()))
    assert [row["images"] for row in rows] == ["10", "4", "0"]
    assert rows[2]["top1"] == ""
    known = [float(row["top1"]) for row in rows[:2]]
    result = json.loads(Path("e/eval.json").read_text())
    assert result["balanced"] == pytest.approx(sum(known) / 2, abs=1e-3)
    assert f"balanced {result['balanced']:.2f} %  macro F1 {result['macro_f1']:.2f} %" in out
    assert result["top1"] == pytest.approx((10 * known[0] + 4 * known[1]) / 14, abs=1e-3)
    assert result["without_images"] == ["cow"]
    assert (best["val_balanced"], best["val_macro_f1"]) == pytest.approx((result["balanced"], result["macro_f1"]), 1e-3)


@pytest.mark.parametrize(
    ("trained", "evaluated", "known"),
    [
        (["--split", "70-30"], ["--split", "official"], True),
        (["--split", "70-30"], [], False),
        (["--split", "official"], ["--split", "70-30"], True),
        (["--split", "official"], [], False),
        (["--split", "70-30", "--fraction", "0.5"], ["--split", "official", "--fraction", "1"], True),
        (["--split", "70-30", "--classes", "2"], ["--split", "official"], True),
    ],
)
def test_images_that_were_trained_on_are_counted(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], trained: list[str], evaluated: list[str], known: bool
) -> None:
    """The count is that of images which the train list of one split and the val list of the other share."""
    assert run("train", dataset, *trained, "--epochs", "1", "--out", "r/a") == 0
    capsys.readouterr()
    assert run("eval", dataset, "--checkpoint", "r/a/best.pt", *evaluated, "--out", "r/e") == 0
    out, result = capsys.readouterr().out, json.loads(Path("r/e/eval.json").read_text())
    options: dict[str, Any] = {"classes": 2 if "--classes" in trained else None, "batch_size": 1}
    share = 0.5 if "--fraction" in trained else 1.0
    first = Loader(dataset, split=trained[1], part="train", fraction=share, **options)
    second = Loader(dataset, split=result["split"], part="val", **options)
    shared = len({*first.dataset.ids.tolist()} & {*second.dataset.ids.tolist()})
    assert result["trained_on"] == shared
    assert (shared > 0) == known
    images, split = result["images"], trained[1]
    warning = f"warning: {shared} of the {images} images evaluated were trained on (train of split {split})"
    assert (warning in out) == (f", {shared} of them trained on" in out) == known


@pytest.mark.parametrize(
    ("folder", "words", "name"),
    [
        ("n02123045", "tabby, tabby cat", "tabby"),
        ("cat, tabby", "cat, tabby", "cat, tabby"),
        ("cat_0001", "cat, black", "cat, black"),
        ("n0212304", "a, b", "a, b"),
        ("cat", "", "cat"),
    ],
)
def test_names_are_as_given_but_for_wordnets(folder: str, words: str, name: str) -> None:
    assert class_name(ClassInfo(0, folder, words)) == name


def test_another_dataset_of_the_same_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is evaluated, and nothing is claimed of its images; one of other classes is refused."""
    own = dataset_of(tmp_path / "own", {"ape": 20, "bee": 20}, {"ape": 4, "bee": 4})
    same = dataset_of(tmp_path / "same", {"ape": 9, "bee": 9}, {"ape": 5, "bee": 6})
    other = dataset_of(tmp_path / "other", {"ape": 9, "cow": 9}, {"ape": 5, "cow": 5})
    assert run("train", own, "--epochs", "1", "--split", "official", "--out", "r/a") == 0
    assert run("eval", same, "--checkpoint", "r/a/best.pt", "--out", "r/e") == 0
    said = f"{same.root} is not the dataset of the run ({own.name}), but has the same 2 classes; whether it has images"
    assert said in capsys.readouterr().out
    result = json.loads(Path("r/e/eval.json").read_text())
    assert (result["images"], result["trained_on"]) == (11, None)
    line = refused(capsys, "--mode", "eval", "--data", str(other.root), "--checkpoint", "r/a/best.pt")
    assert line.endswith(
        "name the right one with --data, or leave it out (--mode eval takes any with the same classes)"
    )


def test_another_dataset_of_the_first_classes(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that the run was trained on."""
    names = [info.folder for info in dataset.classes]
    other = dataset_of(tmp_path / "other", dict.fromkeys(names, 9), dict.fromkeys(names, 5))
    assert run("train", dataset, "--classes", "2", "--epochs", "1", "--split", "official", "--out", "r/a") == 0
    assert run("eval", other, "--checkpoint", "r/a/best.pt", "--out", "r/e") == 0
    assert "has the same 2 classes" in capsys.readouterr().out


def test_other_classes_than_those_of_the_run_are_refused(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", dataset, "--epochs", "1", "--out", "r/a") == 0
    argv = ["--mode", "eval", "--data", str(dataset.root), "--checkpoint", "r/a", "--out", "r/e"]
    line = refused(capsys, *argv, "--classes", "2")
    assert line == "train.py: --classes 2: r/a/best.pt has 4 classes; leave --classes out"
    assert train(*argv, "--classes", "4") == 0
