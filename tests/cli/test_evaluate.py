"""What an evaluation says of classes."""

import csv
import json
from pathlib import Path

import pytest

from feedline.cli.names import short_name
from feedline.pipeline.dataset import ClassInfo
from tests.cli.commands import run
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
    assert all({"ape", "bee"} < set(lines[name].split()) for name in ("hardest", "easiest"))
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
    assert short_name(ClassInfo(0, folder, words)) == name
