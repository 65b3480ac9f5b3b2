from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, InputError
from feedline.pipeline.dataset import ClassInfo, write_meta
from feedline.pipeline.dataset.description import Description
from tests.pipeline.dataset.folders import edit


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not the description of a dataset"),
        ({"version": 99}, "format version 99"),
        ({"classes": 5}, "TypeError"),
        ({"count": "many"}, "ValueError"),
        ({"splits": {"official": {"train": 1}}}, "KeyError"),
        ({"image_size": []}, "IndexError"),
    ],
)
def test_a_wrong_description_is_refused(copy: Path, changes: dict[str, Any], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(InputError, match=message) as caught:
        Dataset(copy)
    assert "dataset.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_for_a_missing_dataset_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"python convert/build.py --source IMAGES --out"):
        Dataset(tmp_path)


def test_the_description_that_was_written_is_read(tmp_path: Path) -> None:
    classes = [ClassInfo(0, "chat noir", "un chat, n\u00f6"), ClassInfo(1, "b", "dog")]
    fields: dict[str, Any] = {
        "name": "two", "fingerprint": "0" * 64, "image_size": None, "count": 7, "mean": [0.5, 0.25, 1.0],
        "std": [1.0, 2.0, 3.0], "splits": {"70-30": {"train": 5, "val": 2}},
        "packs": {"raw": {"bytes": 9, "files": 1, "image_size": [4, 6]}},
    }  # fmt: skip
    write_meta(tmp_path, classes=classes, **fields, note="kept")
    about = Description.read(tmp_path)
    assert (about.name, about.count, about.image_size, about.classes) == ("two", 7, None, classes)
    assert (about.mean, about.std) == ((0.5, 0.25, 1.0), (1.0, 2.0, 3.0))
    assert about.pack_sizes == {"raw": (4, 6)}
    assert about.splits == fields["splits"]
    assert about.meta["note"] == "kept"
