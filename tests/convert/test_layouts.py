"""Classes and parts from the names in a source."""

import filecmp
import json
import os
import shutil
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from feedline import Dataset
from tests.conftest import convert
from tests.convert.helpers import refusal, save_noise
from tests.convert.trees import counts, listed, refused, write


def test_the_tiny_imagenet_layout_is_converted_to_image_folders(dataset: Dataset, tiny_source: Path) -> None:
    for part, count in (("train", 96), ("val", 32)):
        folder = ImageFolder(dataset.root / part)
        assert folder.classes == [c.folder for c in dataset.classes]
        assert len(folder) == count
        expected = {dataset.path(i): int(dataset.labels[i]) for i in dataset.ids("official", part).tolist()}
        torchvision = {str(Path(path).relative_to(dataset.root)): label for path, label in folder.samples}
        assert expected == torchvision
    annotations = (tiny_source / "val/val_annotations.txt").read_text().splitlines()
    for name, wnid in (line.split("\t")[:2] for line in annotations):
        assert filecmp.cmp(tiny_source / "val/images" / name, dataset.root / "val" / wnid / name, shallow=False)
    assert [c.words for c in dataset.classes] == ["disc", "ring", "crescent", "triangle"]


@pytest.mark.parametrize("folder", ["with space", "größe", "日本", "a'b\"c", "100%", "-x", "#"])
def test_class_folders_of_any_name(source: Path, tmp_path: Path, folder: str) -> None:
    (source / "a").rename(source / folder)
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert folder in [c.folder for c in dataset.classes]
    line = next(li for li in (dataset.root / "lists/50-50/train.txt").read_text().splitlines() if folder in li)
    path, _, label = line.rpartition(" ")
    assert (dataset.root / path).exists()
    assert dataset.classes[int(label)].folder == folder


@pytest.mark.parametrize(
    ("folder", "message"),
    [("new\nline", "cannot contain control characters"), (os.fsdecode(b"\xff\xfe"), "names that are not UTF-8")],
)
def test_class_names_that_file_lists_cannot_contain(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: str, message: str
) -> None:
    (source / "a").rename(source / folder)
    assert message in refusal(capsys, source, tmp_path / "out")


def test_an_empty_class_folder_is_named(source: Path, tmp_path: Path) -> None:
    (source / "nobody").mkdir()
    (source / "a/below").mkdir()
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert [c.folder for c in dataset.classes] == ["a", "b"]
    left_out = json.loads((dataset.root / "doctor.json").read_text())["left_out"]
    assert left_out == [{"path": "nobody/", "reason": "a class folder without images"}]


def test_the_folder_around_the_dataset_is_no_class(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(source)
    for flags in ((), ("--force",)):
        convert(".", Path("data/all"), "--strict", *flags)
    (source / "nobody").mkdir()
    assert "nobody/: a class folder without images" in refusal(capsys, ".", Path("data/all"), "--strict", "--force")


def test_a_wnid_without_train_images_keeps_its_label_and_is_named(tiny_source: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_source, tmp_path / "tiny")
    wnids = sorted((source / "wnids.txt").read_text().split())
    shutil.rmtree(source / "train" / wnids[1])
    (source / "wnids.txt").write_text("\n".join([*wnids, "n99999999"]))
    listing = listed(source)
    assert [info.folder for info in listing.classes] == [*wnids, "n99999999"]
    assert listing.notes == [
        f"classes without train images, which cannot be learned: {wnids[1]}",
        "classes without any image: n99999999",
    ]
    for folder in wnids:
        shutil.rmtree(source / "train" / folder, ignore_errors=True)
    assert "no image in train/<class>/images/ of the classes in wnids.txt" in refused(
        write(source, ["train/x/images/1.jpg"])
    )


@pytest.mark.parametrize("train", ["train/{}/images/", "train/{}/"])
@pytest.mark.parametrize("val", ["val/{}/", "val/{}/images/"])
def test_tiny_imagenet_rearranged_to_class_folders(tmp_path: Path, train: str, val: str) -> None:
    folders = [part.format(wnid) for part in (train, val) for wnid in ("n1", "n2")]
    root = write(tmp_path / "s", [f"{folder}{{0..2}}.JPEG" for folder in [*folders, "test/images/"]])
    (root / "wnids.txt").write_text("n1\nn2\n")
    (root / "words.txt").write_text("n1\tcat\nn2\tdog\n")
    listing = listed(root)
    assert counts(listing) == {part: {"n1": 3, "n2": 3} for part in ("train", "val")}
    assert [info.words for info in listing.classes] == ["cat", "dog"]


def test_how_the_source_was_read_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in range(12):
        save_noise(tmp_path / f"s/{('Training', 'eval')[seed > 7]}/{'ab'[seed % 2]}/{seed}.png", seed)
    dataset = convert(tmp_path / "s", tmp_path / "out", "--packs", "")
    assert capsys.readouterr().out.startswith("parts: train from Training/ (8), test from eval/ (4)\n")
    assert dataset.splits["70-30"] == {"train": 6, "val": 2, "test": 4}
