"""What is no set of classes gets a line of its own: what it is, and what to do."""

import zipfile
from pathlib import Path

import pytest

from tests.convert.trees import counts, listed, refused, write

OWN_FOLDER = "put the images of each class into a folder of its own (cat/1.jpg, dog/2.jpg)"


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["{0..9}.jpg"], f"10 images in one folder, without class folders; {OWN_FOLDER}"),
        (["photos/{0..9}.jpg", "photos/.DS_Store"], "one class folder only, 'photos' (10 images)"),
        (["cats/{0..4}.jpg", "notes.txt"], "one class folder only, 'cats' (5 images); telling apart takes two"),
        (["train/cats/{0..4}.jpg"], "one class folder only, 'cats' (5 images)"),
        (["a/1.txt", "a/2.txt", "b/x.csv"], "no images among its 3 files (2 .txt, 1 .csv); give a folder of images"),
        (
            ["train.zip", "test.zip"],
            "no images among its 2 files (2 .zip); an archive; unpack it, or give it as source",
        ),
        ([".git/config"], "holds hidden files only (.git/config)"),
    ],
)
def test_no_classes(tmp_path: Path, files: list[str], what: str) -> None:
    root = write(tmp_path / "s", [name for name in files if name.endswith("jpg")])
    write(root, [name for name in files if not name.endswith("jpg")], b"text")
    line = refused(root) if ".git/config" not in files else refused_inside(root)
    assert line.startswith(f"`source={root}`: {what}")


def refused_inside(root: Path) -> str:
    """A folder with hidden files only, below the source: the source itself would be called empty."""
    (root / "empty").mkdir()
    return refused(root)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (["images/{0..3}.jpg", "labels/{0..3}.txt", "data.yaml"], "(YOLO)"),
        (["images/train/{0..3}.jpg", "images/val/4.jpg", "labels/train/{0..3}.txt", "labels/val/4.txt"], "(YOLO)"),
        (["train/images/{0..3}.jpg", "train/labels/{0..3}.txt", "valid/images/0.jpg", "valid/labels/0.txt"], "(YOLO)"),
        (["JPEGImages/{0..3}.jpg", "Annotations/{0..3}.xml", "ImageSets/Main/train.txt"], "(Pascal VOC)"),
        (["images/{0..3}.jpg", "annotations/instances.json"], "(COCO)"),
        (["train2017/{0..3}.jpg", "val2017/0.jpg", "annotations/instances_train2017.json"], "(COCO)"),
        (["train/{0..3}.jpg", "train/_annotations.coco.json", "valid/0.jpg", "valid/_annotations.coco.json"], "(COCO)"),
        (["images/{0..3}.jpg", "masks/{0..3}.png"], "images/, masks/ of the same files are a set for segmentation"),
        (["images/{0..3}.jpg", "masks/{0..3}_mask.png"], "are a set for segmentation"),
    ],
)
def test_sets_for_another_task(tmp_path: Path, files: list[str], what: str) -> None:
    pictures = [name for name in files if name.endswith(("jpg", "png"))]
    root = write(write(tmp_path / "s", pictures), [name for name in files if name not in pictures], b"0 0 0 1 1\n")
    line = refused(root)
    assert what in line
    assert "this trains classifiers, with one class for each image" in line


def test_class_folders_beside_annotations_are_still_classes(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["cat/0.jpg", "dog/0.jpg"])
    write(root, ["annotations/cat.json", "labels/0.txt"], b"{}")
    assert counts(listed(root)) == {"train": {"cat": 1, "dog": 1}}


def test_folders_of_folders_are_one_class_each_and_said(tmp_path: Path) -> None:
    root = write(tmp_path / "s", [f"animals/{a}/0.jpg" for a in "abc"] + ["cars/bus/0.jpg", "cars/0.jpg"])
    listing = listed(root)
    assert counts(listing) == {"train": {"animals": 3, "cars": 2}}
    assert listing.notes == ["class 'animals' holds a/, b/ and more: the first folder is the class"]


def test_numbers_as_folders_sort_as_torchvision_sorts_them(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["{0..10}/0.jpg"]))
    assert [info.folder for info in listing.classes][:3] == ["0", "1", "10"]
    assert "label 2 is class '10'; --classes-file gives another order" in listing.notes[0]
    assert listed(write(tmp_path / "few", ["{0..9}/0.jpg"])).notes == []


def test_an_encrypted_zip_wants_its_password(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr("a/0.jpg", b"secret")
    data = bytearray((tmp_path / "s.zip").read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag of an encrypted file
    (tmp_path / "s.zip").write_bytes(data)
    assert refused(tmp_path / "s.zip").endswith(
        "(a/0.jpg: encrypted); unpack it with its password, and give the folder"
    )
