"""The train and val images of both splits."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from feedline import Dataset, InputError
from feedline.convert.splits import fraction_name, official, stratified
from tests.conftest import convert
from tests.convert.helpers import save_noise


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


@pytest.mark.parametrize(
    ("labels", "digests", "val_fraction", "message"),
    [
        ([0, 0, 0, 1], [b"a", b"b", b"c", b"d"], 0.3, "`val_fraction=0.3`: class 1 has 1 images, too few for both"),
        ([0, 0, 0, 0], [b"a"] * 4, 0.5, "`val_fraction=0.5`: 4 byte-identical images fit on neither side"),
    ],
)
def test_images_that_cannot_be_split(
    labels: list[int], digests: list[bytes], val_fraction: float, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        stratified(labels, digests, val_fraction=val_fraction, seed=0)
    assert caught.value.message.startswith(message)


def test_a_source_without_val_has_no_official_split() -> None:
    split = official(["train", "val", "train"])
    assert split is not None
    assert (split.train.tolist(), split.val.tolist()) == ([0, 2], [1])
    assert official(["train", "train"]) is None


@pytest.mark.parametrize(("val_fraction", "name"), [(0.3, "70-30"), (0.125, "87.5-12.5"), (1 / 3, "66.6667-33.3333")])
def test_names(val_fraction: float, name: str) -> None:
    assert fraction_name(val_fraction) == name
