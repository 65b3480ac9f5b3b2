"""Archives whose names are longer than a file system takes."""

import json
import zipfile
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from feedline import Dataset
from tests.conftest import convert
from tests.convert.helpers import jpeg, save_noise


def built(tmp_path: Path, *names: str) -> Dataset:
    """A dataset of eight images and some of other names."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i, name in enumerate([*(f"{'ab'[i % 2]}/{i}.jpg" for i in range(8)), *names]):
            archive.writestr(name, jpeg(i))
    return convert(tmp_path / "x.zip", tmp_path / "out", "--packs", "none", "--val-fraction", "0.25")


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "\u65e5" * 100 + ".jpg", "x" * 254])
@pytest.mark.parametrize("folder", ["a", "y" * 300 + "/" + "z" * 300])
def test_images_of_long_names_are_taken(tmp_path: Path, name: str, folder: str) -> None:
    dataset = built(tmp_path, f"{folder}/{name}", f"{folder}/0{name}", f"{folder}/other.jpg")
    assert dataset.count == 11
    assert len(ImageFolder(dataset.root / "train")) == dataset.count
    assert all((dataset.root / dataset.path(i)).exists() for i in range(dataset.count))


def test_it_is_said_which_names_are_shorter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "a/" + "x" * 300
    dataset = built(tmp_path, f"{long}1.jpg", f"{long}2.jpg")
    assert dataset.count == 10, "names that begin alike stay apart"
    assert capsys.readouterr().out.startswith(
        "names longer than 255 bytes, which are shorter in the dataset: 2, the first "
        f"{long[:30]}... as train/{long[:24]}..."
    )


def test_a_path_of_endless_folders_is_left_out(tmp_path: Path) -> None:
    dataset = built(tmp_path, f"a/{'x' * 10}/" + "y/" * 2000 + "1.jpg")
    assert dataset.count == 8
    left_out = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    assert [entry["reason"] for entry in left_out] == ["its path is longer than 3,000 bytes; move it up"]


def test_a_suffix_that_is_added_does_not_make_a_name_too_long(tmp_path: Path) -> None:
    for i in range(8):
        save_noise(tmp_path / "s" / "ab"[i % 2] / f"{i}.png", i)
    for suffix in (".gif", ".jpg"):
        (tmp_path / "s/a" / ("x" * 251 + suffix)).write_bytes(save_noise(tmp_path / "g.gif", 9))
    dataset = convert(tmp_path / "s", tmp_path / "out", "--packs", "none")
    assert dataset.count == 10
    assert all((dataset.root / dataset.path(i)).exists() for i in range(dataset.count))
