"""Every recipe, on sets as small as people's first ones, from the LR range test to the benchmark."""

import json
import math
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.cli.recipes import RECIPES, read_recipe
from tests.cli.commands import train
from tests.cli.folders import dataset_of
from tests.conftest import convert

NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> dict[str, Dataset]:
    """280 images of one size; 34 images in three uneven classes; 24 photos of all sizes, without val images."""
    root = tmp_path_factory.mktemp("sets")
    return {
        "even": dataset_of(root / "even", {"a": 140, "b": 140}, {"a": 10, "b": 10}),
        "tiny": dataset_of(root / "tiny", {"a": 20, "b": 11, "c": 3}, {"a": 3, "b": 1}),
        "photos": convert(photos, root / "photos"),
    }


def short(name: str) -> list[str]:
    """Flags that make a recipe's run short and its images small, and keep everything else of it."""
    values = read_recipe(name)
    size = "12@0,16@1" if isinstance(values.get("image_size"), str) else "16"
    flags = ["--recipe", name, "--device", "cpu", "--epochs", "2", "--image-size", size]
    flags += ["--eval-size", "20"] if "eval_size" in values else []
    flags += ["--peak-epoch", "1"] if "peak_epoch" in values else []
    return flags


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *(("tiny", name) for name in NAMES),
        ("even", "default"),
        ("even", "cpu"),
        ("photos", "default"),
        ("photos", "cpu"),
    ],
)
def test_nothing_raises(sets: dict[str, Dataset], kind: str, name: str) -> None:
    flags = ["--data", str(sets[kind].root), *short(name)]
    lrs: list[str] = []
    if kind == "photos":
        assert train("--mode", "lrfind", *flags, "--out", "r/l") == 2, "fewer than 32 images to train on"
    else:
        assert train("--mode", "lrfind", *flags, "--out", "r/l") == 0
        lrs = ["--max-lr", "auto"] if json.loads(Path("r/l/lr_range.json").read_text())["recommended"] else []
    assert train("--mode", "train", *flags, *lrs, "--out", "r/t") == 0
    summary = json.loads(Path("r/t/summary.json").read_text())
    assert all(math.isfinite(summary["last"][key]) for key in ("train_loss", "val_loss", "val_top1"))
    assert (summary["target"], summary["target_reached"]) == (None, None), "targets are Tiny ImageNet's"
    where = ["--data", str(sets[kind].root), "--device", "cpu"]
    assert train("--mode", "eval", *where, "--checkpoint", "r/t/best.pt", "--out", "r/e") == 0
    evaluation = json.loads(Path("r/e/eval.json").read_text())
    assert evaluation["top1"] == pytest.approx(summary["best"]["val_top1"], abs=0.01)
    assert evaluation["trained_on"] == 0
    bench = [*where, "--recipe", name, "--image-size", "16", "--store", "raw", "--engine", "torch"]
    if kind == "even":
        assert train("--mode", "bench", *bench, "--rounds", "1", "--seconds", "0.02", "--out", "r/b") == 0


def test_a_size_to_evaluate_at_holds_for_the_set_of_the_recipe(sets: dict[str, Dataset]) -> None:
    for name, kept in (("strong", None), ("best", None), ("cpu", 40), ("fast", 64)):
        assert read_recipe(name, sets["even"]).get("eval_size") == kept, "cpu and fast say what to train at too"
    assert read_recipe("strong")["eval_size"] == 80
