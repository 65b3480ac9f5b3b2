"""Folders of train, val and test, in every spelling."""

from pathlib import Path

import pytest

from feedline.convert.layouts import Wanted
from tests.convert.trees import counts, listed, refused, write


@pytest.mark.parametrize("wrapper", ["", "data/", "pets/images/"])
@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("train", "validation", "testing"),
        ("training", "valid", "eval"),
        ("Train", "VAL", "Test"),
        ("Training", "Dev", "Evaluation"),
        ("train_set", "val_set", "test_set"),
        ("train2017", "val2017", "test2017"),
        ("01_train", "02_val", "03_test"),
        ("training-images", "validation images", "test.images"),
        ("flowers-train", "flowers-val", "flowers-test"),
        ("train_raw", "val_raw", "test_raw"),
    ],
)
def test_parts_in_every_spelling(tmp_path: Path, wrapper: str, train: str, val: str, test: str) -> None:
    names = [
        f"{wrapper}{train}/{{a}}/{{0..7}}.jpg",
        f"{wrapper}{val}/{{a}}/{{0..1}}.jpg",
        f"{wrapper}{test}/{{a}}/0.jpg",
    ]
    files = [name.replace("{a}", folder) for name in names for folder in ("cat", "dog")]
    listing = listed(write(tmp_path / "pets", [*files, f"{wrapper}README.md"]))
    expected = {"train": {"cat": 8, "dog": 8}, "val": {"cat": 2, "dog": 2}, "test": {"cat": 1, "dog": 1}}
    assert counts(listing) == expected
    assert listing.notes == [f"parts: train from {train}/ (16), val from {val}/ (4), test from {test}/ (2)"]
    assert listing.left_out == []
    assert [reason for _, reason in listing.ignored] == ["not an image"]
    assert {item.path for item in listing.items if item.part != "train"} == {
        *(f"val/{folder}/{i}.jpg" for folder in ("cat", "dog") for i in range(2)),
        *(f"test/{folder}/0.jpg" for folder in ("cat", "dog")),
    }


def test_nothing_is_printed_where_the_parts_are_train_and_val(tmp_path: Path) -> None:
    files = [f"{part}/{folder}/1.jpg" for part in ("train", "val") for folder in "ab"]
    assert listed(write(tmp_path / "s", files)).notes == []


def test_train_and_test_without_val(tmp_path: Path) -> None:
    listing = listed(
        write(tmp_path / "s", ["train/a/{0..3}.jpg", "train/b/{0..3}.jpg", "test/a/0.jpg", "test/b/0.jpg"])
    )
    assert counts(listing) == {"train": {"a": 4, "b": 4}, "test": {"a": 1, "b": 1}}


@pytest.mark.parametrize("test", ["test", "Testing", "test1", "test/images", "test/test", "eval/unknown"])
def test_test_images_without_a_class_are_counted_but_not_taken(tmp_path: Path, test: str) -> None:
    files = ["train/a/0.jpg", "train/b/0.jpg", f"{test}/{{0..4}}.jpg"]
    listing = listed(write(tmp_path / "s", files))
    assert counts(listing) == {"train": {"a": 1, "b": 1}}
    assert [reason for _, reason in listing.ignored] == ["test images without a class"] * 5
    assert listing.notes == [f"{test.split('/')[0]}/ is not used (5 images)"]


def test_what_lies_beside_the_parts_is_counted(tmp_path: Path) -> None:
    files = ["train/a/0.jpg", "train/b/0.jpg", "val/a/0.jpg", "val/b/0.jpg", "extra/a/{0..2}.jpg", "logo.png", "n.txt"]
    listing = listed(write(tmp_path / "s", files))
    assert len(listing.items) == 4
    assert dict(listing.ignored) == {
        **{f"extra/a/{i}.jpg": "beside train/, val/" for i in range(3)},
        "logo.png": "beside train/, val/",
        "n.txt": "not an image",
    }
    assert listing.notes == ["extra/ is not used (3 images)"]


def test_images_beside_the_class_folders_of_a_part(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["train/a/0.jpg", "train/b/0.jpg", "train/stray.jpg", "val/{0..1}.jpg"]))
    assert listing.left_out == [("train/stray.jpg", "not in a class folder")]
    assert dict(listing.ignored) == {f"val/{i}.jpg": "val images without a class" for i in range(2)}


@pytest.mark.parametrize(("one", "other"), [("val", "validation"), ("Val", "val"), ("dev", "valid")])
def test_two_folders_of_one_part_are_refused(tmp_path: Path, one: str, other: str) -> None:
    files = [f"{part}/{folder}/0.jpg" for part in ("train", one, other) for folder in "ab"]
    line = refused(write(tmp_path / "s", files))
    assert f"{one}/ and {other}/ are spelled as the part val; rename or move one of them" in line


def test_two_trains_are_refused_too(tmp_path: Path) -> None:
    line = refused(
        write(tmp_path / "s", [f"{part}/{folder}/0.jpg" for part in ("train", "Training") for folder in "ab"])
    )
    assert "are spelled as the part train" in line


@pytest.mark.parametrize("folders", [["val"], ["val", "test"], ["Validation", "eval"], ["test"]])
def test_parts_without_train_are_refused(tmp_path: Path, folders: list[str]) -> None:
    line = refused(write(tmp_path / "s", [f"{part}/{folder}/0.jpg" for part in folders for folder in "ab"]))
    assert f"holds {' and '.join(f'{f}/' for f in sorted(folders))}, but no train/ with class folders" in line


@pytest.mark.parametrize(("train", "other"), [("train", "test"), ("Training", "validation")])
def test_images_directly_in_train_are_refused(tmp_path: Path, train: str, other: str) -> None:
    line = refused(write(tmp_path / "s", [f"{train}/{{0..3}}.jpg", f"{other}/{{0..1}}.jpg"]))
    assert "4 images in " in line
    assert f"{train}/" in line
    assert "no class folders there; put the images of each class into a folder of its own" in line


def test_test_images_alone_are_refused(tmp_path: Path) -> None:
    line = refused(write(tmp_path / "s", ["test/{0..3}.jpg"]))
    assert "4 images in test/ without a class, and no others" in line


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["bus/0.jpg", "car/0.jpg", "train/{0..1}.jpg"]))
    assert counts(listing) == {"train": {"bus": 1, "car": 1, "train": 2}}
    assert listing.notes == ["read as classes, because there is no train/ with class folders: train/"]


def test_valid_and_invalid_are_two_classes(tmp_path: Path) -> None:
    assert counts(listed(write(tmp_path / "s", ["valid/0.jpg", "invalid/0.jpg"]))) == {
        "train": {"invalid": 1, "valid": 1}
    }


def test_test_beside_two_classes_is_no_class(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["cats/0.jpg", "dogs/0.jpg", "test/{0..2}.jpg"]))
    assert counts(listing) == {"train": {"cats": 1, "dogs": 1}}
    assert {reason for _, reason in listing.ignored} == {"test images without a class"}
    assert listing.notes == ["test/ is not used: 3 test images without a class"]


def test_test_beside_one_class_is_a_class_and_said(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["cats/0.jpg", "test/0.jpg"]))
    assert counts(listing) == {"train": {"cats": 1, "test": 1}}
    assert "read as classes" in listing.notes[0]


def test_classes_beside_a_test_folder_of_the_same_classes(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["cats/{0..2}.jpg", "dogs/0.jpg", "test/cats/0.jpg", "test/dogs/0.jpg"]))
    assert counts(listing) == {"train": {"cats": 3, "dogs": 1}, "test": {"cats": 1, "dogs": 1}}
    assert listing.notes == ["parts: train from the class folders, test from test/"]


def test_parts_inside_the_classes(tmp_path: Path) -> None:
    listing = listed(
        write(tmp_path / "s", [f"{c}/{part}/0.jpg" for c in ("cats", "dogs") for part in ("Train", "Val")])
    )
    assert counts(listing) == {"train": {"cats": 1, "dogs": 1}, "val": {"cats": 1, "dogs": 1}}
    assert {item.path for item in listing.items} == {
        f"{p}/{c}/0.jpg" for p in ("train", "val") for c in ("cats", "dogs")
    }


@pytest.mark.parametrize(
    ("strays", "count", "reason"),
    [
        (["cat/cover.png"], 1, "in a class whose folders are parts, but not in one of them"),
        (["cat/cover.png", "dog/{0..2}.jpg"], 4, "in a class whose folders are parts, but not in one of them"),
        (["cover.png"], 1, "not in a class folder"),
    ],
)
def test_pictures_beside_the_parts_in_a_class_do_not_hide_them(
    tmp_path: Path, strays: list[str], count: int, reason: str
) -> None:
    files = [f"{c}/{part}/{{0..1}}.jpg" for c in ("cat", "dog") for part in ("train", "test")]
    listing = listed(write(tmp_path / "s", [*files, *strays]))
    assert counts(listing) == {"train": {"cat": 2, "dog": 2}, "test": {"cat": 2, "dog": 2}}
    assert len(listing.left_out) == count
    assert {reason for _, reason in listing.left_out} == {reason}


def test_folders_beside_the_parts_in_a_class_are_counted(tmp_path: Path) -> None:
    files = [f"{c}/{part}/0.jpg" for c in ("cat", "dog") for part in ("training", "Val")]
    listing = listed(write(tmp_path / "s", [*files, "dog/extra/{0..2}.jpg", "assets/logo.png"]))
    assert counts(listing) == {"train": {"cat": 1, "dog": 1}, "val": {"cat": 1, "dog": 1}}
    assert dict(listing.ignored) == dict.fromkeys(
        ["assets/logo.png", *(f"dog/extra/{i}.jpg" for i in range(3))], "beside the parts in each class"
    )
    assert listing.notes == [
        "parts: from the folders in each class, Val/, training/",
        "assets/ is not used (1 image)",
        "dog/extra/ is not used (3 images)",
    ]


@pytest.mark.parametrize("images", [["cow/{0..2}.jpg"], ["cow/brown/0.jpg"], ["cow/0.jpg", "cow/test/0.jpg"]])
def test_a_class_without_train_beside_others_with_it_is_refused(tmp_path: Path, images: list[str]) -> None:
    files = [f"{c}/{part}/0.jpg" for c in ("cat", "dog") for part in ("train", "test")]
    line = refused(write(tmp_path / "s", [*files, *images]))
    assert "cat/ holds a train/ and other parts, but cow/ no train/; move the images of cow/ into cow/train/" in line


def test_a_folder_called_train_in_one_class_is_no_part(tmp_path: Path) -> None:
    files = ["vehicles/train/0.jpg", "vehicles/car/0.jpg", "animals/{0..2}.jpg"]
    assert counts(listed(write(tmp_path / "s", files))) == {"train": {"animals": 3, "vehicles": 2}}
    files = ["vehicles/train/0.jpg", "animals/0.jpg"]
    assert counts(listed(write(tmp_path / "t", files))) == {"train": {"animals": 1, "vehicles": 1}}


def test_a_class_with_test_images_only_is_named(tmp_path: Path) -> None:
    files = ["cat/train/0.jpg", "cat/test/0.jpg", "dog/train/0.jpg", "dog/test/0.jpg", "cow/test/0.jpg"]
    listing = listed(write(tmp_path / "s", files))
    assert counts(listing) == {"train": {"cat": 1, "dog": 1}, "test": {"cat": 1, "cow": 1, "dog": 1}}
    assert "classes without train images, which cannot be learned: cow" in listing.notes


def test_the_folder_twice_as_kaggle_zips_it(tmp_path: Path) -> None:
    files = [f"seg_{p}/seg_{p}/{c}/0.jpg" for p in ("train", "test") for c in ("sea", "street")]
    listing = listed(write(tmp_path / "s", [*files, "seg_pred/seg_pred/{0..2}.jpg"]))
    assert counts(listing) == {"train": {"sea": 1, "street": 1}, "test": {"sea": 1, "street": 1}}
    assert listing.notes[-1] == "seg_pred/ is not used (3 images)"


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("Train/train", "Val/val"),
        ("training/train", "validation/val"),
        ("train/train_images", "val/val_images"),
        ("train/train", "valid/Valid"),
        ("pets-train/pets-train", "pets-val/val"),
        ("train", "val/images"),
        ("train/train", "validation/data"),
        ("train/all", "validation"),
        ("Train/Train/train", "Val/val/val"),
    ],
)
@pytest.mark.parametrize("wrapper", ["", "pets/"])
def test_a_folder_around_the_classes_of_a_part_is_no_class(tmp_path: Path, wrapper: str, train: str, val: str) -> None:
    files = [f"{wrapper}{part}/{c}/{{0..1}}.jpg" for part in (train, val) for c in ("cat", "dog")]
    stray = f"{wrapper}{train}/cover.jpg"
    listing = listed(write(tmp_path / "s", [*files, stray]))
    assert counts(listing) == {"train": {"cat": 2, "dog": 2}, "val": {"cat": 2, "dog": 2}}
    assert listing.left_out == [(stray, "not in a class folder")]
    assert listing.ignored == []


def test_the_classes_in_a_folder_of_a_part_may_be_in_other_letters(tmp_path: Path) -> None:
    files = [*(f"train/{c}/0.jpg" for c in ("Cat", "Dog")), *(f"val/all/{c}/0.jpg" for c in ("cat", "dog"))]
    assert counts(listed(write(tmp_path / "s", files))) == {part: {"Cat": 1, "Dog": 1} for part in ("train", "val")}


def test_a_class_called_as_its_part_stays_a_class(tmp_path: Path) -> None:
    files = ["train/bus/0.jpg", "train/train/steam/0.jpg", "val/train/steam/1.jpg", "val/train/diesel/1.jpg"]
    assert counts(listed(write(tmp_path / "s", files))) == {"train": {"bus": 1, "train": 1}, "val": {"train": 2}}


@pytest.mark.parametrize(
    ("files", "folder"),
    [
        (["train/train/a/0.jpg", "train/val/a/0.jpg", "test/a/0.jpg", "test/b/0.jpg"], "train/train/ and train/val/"),
        (["train/a/0.jpg", "train/b/0.jpg", "val/Dev/0.jpg", "val/Test/0.jpg"], "val/Dev/ and val/Test/"),
    ],
)
def test_parts_in_a_part_are_refused_unless_they_are_said_to_be_classes(
    tmp_path: Path, files: list[str], folder: str
) -> None:
    root = write(tmp_path / "s", files)
    assert f"{folder} are named as parts, not as classes; move them" in refused(root)
    (tmp_path / "c.txt").write_text("a\nb\ntrain\nval\nDev\nTest\n")
    assert len(listed(root, Wanted(classes_file=tmp_path / "c.txt")).items) == 4


def test_classes_that_only_val_or_test_has_keep_their_labels_and_are_named(tmp_path: Path) -> None:
    files = ["train/a/0.jpg", "train/c/0.jpg", "val/a/0.jpg", "val/b/0.jpg", "test/a/0.jpg", "test/d/0.jpg"]
    listing = listed(write(tmp_path / "s", files))
    assert [info.folder for info in listing.classes] == ["a", "b", "c", "d"]
    assert [info.id for info in listing.classes] == [0, 1, 2, 3]
    assert listing.notes[1:] == [
        "classes without train images, which cannot be learned: b, d",
        "classes without val images: c, d",
        "classes without test images: b, c",
    ]


def test_a_class_in_other_letters_in_val_is_the_same_class(tmp_path: Path) -> None:
    files = ["train/Cat/0.jpg", "train/Cafe\u0301/0.jpg", "val/cat/0.jpg", "val/Caf\u00e9/0.jpg"]
    listing = listed(write(tmp_path / "s", files))
    assert counts(listing) == {"train": {"Cat": 1, "Cafe\u0301": 1}, "val": {"Cat": 1, "Cafe\u0301": 1}}
    assert "class 'cat' of val is taken for 'Cat'" in listing.notes


@pytest.mark.parametrize(
    ("one", "other", "how"), [("Cat", "cat", "case"), ("Cafe\u0301", "Caf\u00e9", "how accents are written")]
)
def test_classes_that_would_be_one_folder_elsewhere_are_refused(tmp_path: Path, one: str, other: str, how: str) -> None:
    line = refused(write(tmp_path / "s", [f"{one}/0.jpg", f"{other}/0.jpg", "dog/0.jpg"]))
    assert f"differ in {how} only; rename one, or move the images into one folder" in line
