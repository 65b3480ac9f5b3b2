"""The train and val images of both splits."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.convert.splits import fraction_name, official, stratified
from tests.conftest import convert
from tests.convert.helpers import refusal, save_noise


def test_both_splits_are_exact(dataset: Dataset) -> None:
    assert dataset.splits == {"official": {"train": 96, "val": 32}, "70-30": {"train": 88, "val": 40}}
    train, val = dataset.ids("70-30", "train"), dataset.ids("70-30", "val")
    assert sorted([*train, *val]) == list(range(128))
    assert Counter(dataset.labels[val].tolist()) == {0: 10, 1: 10, 2: 10, 3: 10}


def test_the_stratified_split_is_seeded(dataset: Dataset, tiny_source: Path, tmp_path: Path) -> None:
    other = convert(tiny_source, tmp_path / "other", "--seed", "1", "--packs", "")
    assert other.ids("70-30", "val").tolist() != dataset.ids("70-30", "val").tolist()
    assert other.ids("official", "val").tolist() == dataset.ids("official", "val").tolist()
    assert other.packs == {}
    quarter = convert(tiny_source, tmp_path / "quarter", "--val-fraction", "0.25", "--packs", "raw")
    assert quarter.splits["75-25"] == {"train": 96, "val": 32}
    assert list(quarter.packs) == ["raw"]


def test_identical_images_stay_on_one_side_of_the_stratified_split(tmp_path: Path) -> None:
    root = tmp_path / "twins"
    for i in range(40):
        folder = "ab"[i % 2]
        save_noise(root / folder / f"{i}.png", i)
        if i < 24:
            shutil.copy(root / folder / f"{i}.png", root / folder / f"{i}_again.png")
    dataset = convert(root, tmp_path / "out")
    val = set(dataset.ids("70-30", "val").tolist())
    sides: dict[bytes, set[bool]] = {}
    for i in range(dataset.count):
        sides.setdefault((dataset.root / dataset.path(i)).read_bytes(), set()).add(i in val)
    assert all(len(side) == 1 for side in sides.values())
    assert Counter(dataset.labels[sorted(val)].tolist()) == {0: 10, 1: 10}
    assert "official" not in dataset.splits


def per_class(dataset: Dataset, split: str, part: str) -> dict[str, int]:
    """Images of each class folder."""
    return dict(Counter(dataset.classes[label].folder for label in dataset.labels[dataset.ids(split, part)].tolist()))


def folders(root: Path, counts: dict[str, int], start: int = 0) -> Path:
    """An ImageFolder of noise: `counts` images in each folder, all different."""
    seeds = iter(range(start, start + sum(counts.values())))
    for folder, count in counts.items():
        for i in range(count):
            save_noise(root / folder / f"{i}.png", next(seeds))
    return root


def test_a_class_of_one_image_is_a_train_class_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = convert(folders(tmp_path / "source", {"cat": 10, "dodo": 1, "emu": 10}), tmp_path / "out")
    assert per_class(dataset, "70-30", "train") == {"cat": 7, "dodo": 1, "emu": 7}
    assert per_class(dataset, "70-30", "val") == {"cat": 3, "emu": 3}
    assert [c.folder for c in dataset.classes] == ["cat", "dodo", "emu"]
    out = capsys.readouterr().out
    assert "one image      1 class: dodo" in out
    assert "missing        1 class in val of 70-30: dodo" in out
    report = json.loads((dataset.root / "doctor.json").read_text())
    assert report["missing_classes"] == [{"split": "70-30", "part": "val", "classes": ["dodo"]}]
    assert report["classes"][1] == {"folder": "dodo", "images": 1, "70-30": {"train": 1, "val": 0}}
    assert dataset.meta["findings"]["missing_classes"] == 1


@pytest.mark.parametrize(
    ("images", "val_fraction", "val"),
    [
        (2, 0.3, 1), (2, 0.2, 0), (2, 0.9, 1), (2, 0.999, 1), (3, 0.9, 2), (3, 0.1, 0), (1, 0.3, 0), (1, 0.999, 0),
        (10, 0.999, 9), (10, 0.04, 0),
    ],
)  # fmt: skip
def test_train_keeps_an_image_of_each_class_at_any_share(images: int, val_fraction: float, val: int) -> None:
    labels = [0] * images + [1] * 100
    split, misfits = stratified(labels, [b"%d" % i for i in range(len(labels))], val_fraction=val_fraction, seed=0)
    assert sum(labels[i] == 0 for i in split.val.tolist()) == val
    assert sum(labels[i] == 1 for i in split.val.tolist()) == min(round(100 * val_fraction), 99)
    assert misfits == []


def test_the_split_of_the_source_needs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(tmp_path / "source/train", {"a": 1, "b": 1})
    folders(tmp_path / "source/val", {"a": 1, "b": 0}, start=10)
    dataset = convert(tmp_path / "source", tmp_path / "out", "--val-fraction", "0.2")
    assert dataset.splits == {"official": {"train": 2, "val": 1}}
    assert "no split 80-20: no class has an image for val; the largest has 2 images" in capsys.readouterr().out
    zero = convert(tmp_path / "source", tmp_path / "zero", "--val-fraction", "0")
    assert zero.splits == dataset.splits
    assert "no split" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("counts", "val_fraction", "message"),
    [
        ({"a": 9, "b": 9}, "0", "0: the source has no val images of its own"),
        ({"a": 1, "b": 1}, "0.3", "0.3: each class has one image, which train needs; add images, or a val folder"),
        (
            {"a": 9, "b": 7},
            "0.01",
            "0.01: no class has an image for val; the largest has 9 images, so give at least 0.067",
        ),
    ],
)
def test_nothing_to_evaluate_on_is_said_before_images_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], counts: dict[str, int], val_fraction: str, message: str
) -> None:
    folders(tmp_path / "source", counts)
    for path in (tmp_path / "source").rglob("*.png"):
        path.write_bytes(b"never read")
    line = refusal(capsys, tmp_path / "source", tmp_path / "out", "--val-fraction", val_fraction)
    assert line.startswith(f"build.py: --val-fraction {message}")


@pytest.mark.parametrize(
    ("images", "val_fraction", "message"),
    [
        (
            {"a": "xxx", "b": "yyyy"},
            "0.3",
            "all images of each class are identical, as the 4 of 'b' to b/0.png; an image and its copies stay on one "
            "side of a split, so add other images, or a val folder",
        ),
        ({"a": "xxx", "b": "xx"}, "0.3", "all images of each class are identical, as the 3 of 'a' to a/0.png; "),
        ({"a": "xxx", "b": "y"}, "0.3", "all images of each class are identical, as the 3 of 'a' to a/0.png; "),
        (
            {"a": "xxxxxyyyyy", "b": "zz"},
            "0.1",
            "identical images leave val nothing: a/0.png and its copies are 5 of 12 images and stay on one side; give "
            "a larger share, or add images",
        ),
    ],
)
def test_copies_that_leave_nothing_for_val_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], images: dict[str, str], val_fraction: str, message: str
) -> None:
    """A letter is an image."""
    for folder, letters in images.items():
        for i, letter in enumerate(letters):
            save_noise(tmp_path / "source" / folder / f"{i}.png", ord(letter))
    line = refusal(capsys, tmp_path / "source", tmp_path / "out", "--val-fraction", val_fraction)
    assert line.startswith(f"build.py: --val-fraction {val_fraction}: {message}")


@pytest.mark.parametrize(
    ("others", "placeholders", "val_fraction", "part"),
    [((1, 1), (5, 4), "0.3", "train"), ((5, 2), (9, 9), "0.3", "train"), ((1, 2), (9, 0), "0.7", "val")],
)
def test_placeholders_that_fit_on_neither_side_stay_together(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    others: tuple[int, int],
    placeholders: tuple[int, int],
    val_fraction: str,
    part: str,
) -> None:
    source = folders(tmp_path / "source", dict(zip("ab", others, strict=True)), start=7)
    data = save_noise(tmp_path / "missing.png", 99)
    for folder, count in zip("ab", placeholders, strict=True):
        for i in range(count):
            (source / folder / f"placeholder{i}.png").write_bytes(data)
    dataset = convert(source, tmp_path / "out", "--val-fraction", val_fraction)
    report = json.loads((dataset.root / "doctor.json").read_text())
    split = next(iter(dataset.splits))
    (misfit,) = report["misfits"]
    assert (len(misfit["paths"]), misfit["split"], misfit["part"]) == (sum(placeholders), split, part)
    ids = {dataset.path(i) for i in dataset.ids(split, part).tolist()}
    assert ids >= set(misfit["paths"])
    assert dataset.splits[split]["val"] > 0
    assert set(per_class(dataset, split, "train")) == {"a", "b"}
    where = f"{sum(placeholders)} images that belong together are all in {part} of {split}: train/a/placeholder0.png"
    assert where in capsys.readouterr().out


@pytest.mark.parametrize("broken", ["a", "b", "c"])
def test_a_class_without_a_usable_image_keeps_its_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    source = folders(tmp_path / "source", {"a": 4, "b": 4, "c": 4})
    for path in (source / broken).iterdir():
        path.write_bytes(b"no image")
    dataset = convert(source, tmp_path / "out")
    assert [c.folder for c in dataset.classes] == ["a", "b", "c"]
    assert per_class(dataset, "70-30", "val") == {folder: 1 for folder in "abc" if folder != broken}
    assert f"no images      1 class: {broken}" in capsys.readouterr().out
    assert json.loads((dataset.root / "doctor.json").read_text())["empty_classes"] == [broken]


def test_a_source_whose_train_images_are_all_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders(tmp_path / "source/val", {"a": 4, "b": 4})
    for folder in "ab":
        (tmp_path / "source/train" / folder).mkdir(parents=True)
        (tmp_path / "source/train" / folder / "x.png").write_bytes(b"no image")
    line = refusal(capsys, tmp_path / "source", tmp_path / "out")
    assert "none of its 2 train images decodes; the first that is left out: train/a/x.png: does not decode: not" in line


def test_a_source_without_val_has_no_official_split() -> None:
    split = official(["train", "val", "train"])
    assert split is not None
    assert (split.train.tolist(), split.val.tolist()) == ([0, 2], [1])
    assert official(["train", "train"]) is None


@pytest.mark.parametrize(("val_fraction", "name"), [(0.3, "70-30"), (0.125, "87.5-12.5"), (1 / 3, "66.6667-33.3333")])
def test_names(val_fraction: float, name: str) -> None:
    assert fraction_name(val_fraction) == name
