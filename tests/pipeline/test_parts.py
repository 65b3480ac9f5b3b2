"""A third part, test, and the columns of a source's table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline import Dataset, InputError, Loader
from feedline.convert import from_dataset
from feedline.pipeline.dataset import write_columns
from feedline.pipeline.dataset.index import load_column
from feedline.pipeline.dataset.writer import _typed
from tests.convert.fake_datasets import pixels
from tests.pipeline.loading import ENGINES


def rows(first: int, count: int) -> list[tuple[np.ndarray[Any, Any], int]]:
    return [(pixels(i), i % 2) for i in range(first, first + count)]


@pytest.fixture(scope="module")
def three_parts(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 train images, 6 for val, 8 for test; the first test image is a copy of the first train image."""
    parts = {"train": rows(0, 20), "val": rows(20, 6), "test": [*rows(0, 1), *rows(26, 7)]}
    return from_dataset(parts, tmp_path_factory.mktemp("parts") / "data", workers=1, progress=False)


@pytest.fixture
def with_columns(three_parts: Dataset) -> Dataset:
    """The same with columns: age, weight, place and code."""
    columns = {
        "age": [str(i) for i in range(34)],
        "weight": ["" if i == 3 else f"{i / 2}" for i in range(34)],
        "place": ["here", "there"] * 17,
        "code": [f"{i:03d}" for i in range(34)],
    }
    write_columns(three_parts.root, columns)
    path = three_parts.root / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "columns": list(columns)}))
    return Dataset(three_parts.root)


def test_every_split_has_the_same_test_images_and_trains_on_none_of_them(three_parts: Dataset) -> None:
    assert three_parts.splits == {
        "official": {"train": 20, "val": 6, "test": 8},
        "70-30": {"train": 18, "val": 8, "test": 8},
    }
    for split in three_parts.splits:
        train, val, test = (set(three_parts.ids(split, part).tolist()) for part in ("train", "val", "test"))
        assert test == set(range(26, 34))
        assert train | val == set(range(26))
        assert not train & val
        assert len((three_parts.root / f"lists/{split}/test.txt").read_text().splitlines()) == 8


def test_a_train_image_among_the_test_images_is_found(three_parts: Dataset) -> None:
    group = json.loads((three_parts.root / "doctor.json").read_text())["duplicates"]
    assert [entry["crosses"] for entry in group] == [["official", "70-30"]]


@pytest.mark.parametrize("engine", ENGINES)
def test_test_images_come_as_val_images_do(three_parts: Dataset, engine: Any) -> None:
    loader = Loader(three_parts, part="test", batch_size=5, engine=engine, with_ids=True)
    ids = [i for _, _, batch in loader for i in batch.tolist()]
    assert ids == three_parts.ids("70-30", "test").tolist()
    assert [len(batch[0]) for batch in loader] == [5, 3]


def test_val_needs_nothing_that_only_training_does(tmp_path: Path) -> None:
    """Images of 4 pixels are too small for the crop that training has by default."""
    small = from_dataset([(pixels(i, (4, 4)), i % 2) for i in range(20)], tmp_path / "d", workers=1, progress=False)
    images, _ = next(iter(Loader(small, part="val", batch_size=6, image_size=8)))
    assert images.shape == (6, 3, 8, 8)
    with pytest.raises(InputError, match="the padding must be below the side of the images, 4 pixels"):
        Loader(small, part="train", batch_size=6, image_size=8)


def test_a_dataset_without_a_test_part_says_so(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"part=test: .* has no test images"):
        Loader(dataset, part="test")


def test_columns_have_the_type_that_all_their_values_share(with_columns: Dataset) -> None:
    assert with_columns.columns == ["age", "weight", "place", "code"]
    assert with_columns.column("age").dtype == np.int64
    weight = with_columns.column("weight")
    assert np.isnan(weight[3])
    assert weight[5] == 2.5
    assert with_columns.column("place")[1] == "there"
    assert with_columns.column("code")[7] == "007"  # leading zeros are no number's
    with pytest.raises(InputError, match="has the columns age, weight, place, code"):
        with_columns.column("size")


@pytest.mark.parametrize(
    ("texts", "dtype"),
    [
        (["1_01", "10_1"], "U"),
        (["12345678901234567890", "12345678901234567891"], "U"),
        (["9007199254740993", "9007199254740992", ""], "U"),
        (["9007199254740993", "9007199254740992", "-1"], "i"),
        (["9007199254740992", "1.5", ""], "f"),
    ],
)
def test_different_texts_of_a_column_stay_different(tmp_path: Path, texts: list[str], dtype: str) -> None:
    """Numbers only where they hold what was written."""
    (tmp_path / "index").mkdir()
    write_columns(tmp_path, {"x": texts})
    values = load_column(tmp_path / "index", 0, len(texts))
    assert values.dtype.kind == dtype
    assert len({str(value) for value in values}) == len(texts)


def test_columns_are_targets(with_columns: Dataset) -> None:
    images, ages = next(iter(Loader(with_columns, part="val", split="official", targets="age", batch_size=4)))
    assert len(images) == 4
    assert ages.tolist() == [20, 21, 22, 23]
    both = next(iter(Loader(with_columns, part="val", split="official", targets=["weight", "age"], batch_size=4)))[1]
    assert both.dtype == torch.float32
    assert both.tolist() == [[10.0, 20.0], [10.5, 21.0], [11.0, 22.0], [11.5, 23.0]]


@pytest.mark.parametrize("targets", ["place", ["age", "place"]])
def test_text_is_no_target(with_columns: Dataset, targets: Any) -> None:
    with pytest.raises(InputError, match=r"column 'place' .* holds text, as 'here'"):
        Loader(with_columns, targets=targets)


def test_a_damaged_column_is_named(with_columns: Dataset) -> None:
    path = with_columns.root / "index/column-0.npy"
    np.save(path, np.arange(3))
    with pytest.raises(InputError, match=r"column-0.npy: not a column of 34 values"):
        with_columns.column("age")


def test_numbers_that_a_float_cannot_hold_stay_texts() -> None:
    assert _typed(["1e400", "2e400", "1"]).tolist() == ["1e400", "2e400", "1"]
    assert _typed(["1.5", "inf", "-inf"]).tolist() == [1.5, np.inf, -np.inf]
