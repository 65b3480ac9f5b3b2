"""Where a set begins: what lies beside its folder makes no classes."""

import time
from pathlib import Path

import pytest

from feedline.convert.layouts import Wanted
from feedline.convert.layouts.parts import spelled
from tests.convert.trees import counts, listed, refused, write

PARTS = [f"{part}/{c}/{{0..3}}.jpg" for part in ("train", "val") for c in ("cat", "dog")]
CLASSES = ["cat/{0..3}.jpg", "dog/{0..3}.jpg"]
IN_PARTS = {"train": {"cat": 4, "dog": 4}, "val": {"cat": 4, "dog": 4}}


def below(folder: str, files: list[str]) -> list[str]:
    return [f"{folder}/{name}" for name in files]


def classes_file(folder: Path, *names: str) -> Wanted:
    path = folder / "classes.txt"
    path.write_text("\n".join(names))
    return Wanted(classes_file=path)


@pytest.mark.parametrize("wrapper", ["", "repo-main/"])
@pytest.mark.parametrize("folder", ["data", "images", "data/raw", "assets"])
@pytest.mark.parametrize("beside", ["docs/a.png", "docs/images/a.png", "notebooks/out/a.png", "figures/a.png"])
def test_pictures_beside_the_folder_of_parts(tmp_path: Path, wrapper: str, folder: str, beside: str) -> None:
    root = write(tmp_path / "s", [wrapper + name for name in [*below(folder, PARTS), beside]])
    listing = listed(root)
    assert counts(listing) == IN_PARTS
    assert listing.ignored == [(wrapper + beside, f"beside {wrapper}{folder}/")]
    assert listing.notes == [f"{wrapper}{beside.partition('/')[0]}/ is not used (1 image)"]


@pytest.mark.parametrize("beside", ["assets/logo.png", "docs/images/a.png", "Media/a.png", "res/a.png"])
@pytest.mark.parametrize("more", [[], ["logo.png"]])
def test_pictures_of_documentation_beside_the_folder_of_classes(tmp_path: Path, beside: str, more: list[str]) -> None:
    listing = listed(write(tmp_path / "s", [*below("data", CLASSES), beside, *more]))
    assert counts(listing) == {"train": {"cat": 4, "dog": 4}}
    assert dict(listing.ignored) == dict.fromkeys([beside, *more], "beside data/")
    assert listing.notes == [f"{beside.partition('/')[0]}/ is not used (1 image)"]
    assert listing.left_out == []


def test_a_tiny_imagenet_download_in_a_repository(tmp_path: Path) -> None:
    files = [f"tiny/{part}/0.JPEG" for part in ("train/n1/images", "train/n2/images", "val/images")]
    root = write(tmp_path / "s", [*files, "docs/a.png"])
    (root / "tiny/wnids.txt").write_text("n1\nn2\n")
    (root / "tiny/val/val_annotations.txt").write_text("0.JPEG\tn1\n")
    assert counts(listed(root)) == {"train": {"n1": 1, "n2": 1}, "val": {"n1": 1}}


def test_images_of_parts_without_classes_beside_documentation_are_refused(tmp_path: Path) -> None:
    for number, prefix in enumerate(("", "data/")):
        files = [f"{prefix}train/{{0..3}}.jpg", f"{prefix}val/0.jpg", "docs/a.png"]
        line = refused(write(tmp_path / str(number), files))
        assert "4 images in train/ and 1 image in val/, but no class folders there" in line


@pytest.mark.parametrize(
    ("others", "named"),
    [
        (below("data_backup", ["train/cat/0.jpg", "train/dog/0.jpg"]), "data/, data_backup/"),
        (below("data_backup", ["train/0.jpg"]), "data/, data_backup/"),
        (["test/cat/0.jpg", "test/dog/0.jpg"], "data/, test/"),
        ([*below("v2/data", PARTS), "assets/a.png"], "data/, v2/"),
    ],
)
def test_several_folders_of_parts_are_refused(tmp_path: Path, others: list[str], named: str) -> None:
    root = write(tmp_path / "s", [*below("data", PARTS), *others])
    line = refused(root)
    assert f"several sets here: {named}; give one of them" in line
    assert "name them with `classes_file`" in line


def test_a_folder_is_a_class_if_the_classes_file_says_so(tmp_path: Path) -> None:
    root = write(tmp_path / "s", [*below("photos", ["2019/{0..3}.jpg", "2020/{0..3}.jpg"]), "screenshots/{0..1}.jpg"])
    assert counts(listed(root)) == {"train": {"2019": 4, "2020": 4}}
    wanted = classes_file(tmp_path, "photos", "screenshots")
    assert counts(listed(root, wanted)) == {"train": {"photos": 8, "screenshots": 2}}


@pytest.mark.parametrize(
    "files",
    [
        ["people/indoor/{0..3}.jpg", "people/outdoor/{0..3}.jpg", "logos/{0..2}.jpg"],
        ["photos/2019/{0..3}.jpg", "photos/2020/{0..3}.jpg", "photos/misc/0.jpg", "screenshots/{0..8}.jpg"],
        ["news/en/{0..3}.jpg", "news/de/{0..3}.jpg", "media/tv/{0..2}.jpg", "media/radio/0.jpg"],
        ["ok/line1/{0..29}.jpg", "ok/line2/{0..29}.jpg", "defect/{0..2}.jpg"],
        ["cat/{0..5}.jpg", "cow/{0..5}.jpg", *below("cow/crops", PARTS)],
        [
            "animals/cat/{0..2}.jpg",
            "animals/dog/{0..2}.jpg",
            "vehicles/train/steam/0.jpg",
            "vehicles/train/diesel/0.jpg",
        ],
        ["airport/{0..9}.jpg", "station/train/day/{0..1}.jpg", "station/train/night/{0..1}.jpg"],
        ["part-1001/top/0.jpg", "part-1001/side/0.jpg", "part-1002/top/0.jpg", "part-1002/side/0.jpg"],
        ["te/day/0.jpg", "te/night/0.jpg", "ta/day/0.jpg", "ta/night/0.jpg"],
    ],
)
def test_classes_are_not_taken_for_what_lies_beside_a_set(tmp_path: Path, files: list[str]) -> None:
    """More than two pictures, and than a tenth of the smallest folder, are a class, whatever it is called."""
    root = write(tmp_path / "s", files)
    images = counts(listed(root))["train"]
    assert set(images) == {name.partition("/")[0] for name in files}
    assert sum(images.values()) == sum(path.is_file() for path in root.rglob("*"))


def test_many_images_beside_a_set_are_not_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["cat/{0..9}.jpg", "dog/{0..9}.jpg", *below("split", PARTS)])
    line = refused(root)
    assert "split/ could be a class beside cat/, dog/, or the folder of the classes train/, val/; name the" in line
    assert set(counts(listed(root, classes_file(tmp_path, "cat", "dog", "split")))["train"]) >= {"cat", "dog"}


def test_a_long_number_in_a_name_costs_no_time() -> None:
    started = time.perf_counter()
    assert spelled("train" + "1" * 60 + "x") is None
    assert time.perf_counter() - started < 1


def test_classes_called_as_documentation_stay_classes_and_are_named(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", ["logos/{0..2}.jpg", "people/{0..2}.jpg", "cars/front/{0..2}.jpg"]))
    assert counts(listing) == {"train": {"cars": 3, "logos": 3, "people": 3}}
    assert listing.notes == ["read as classes, though such folders often hold documentation: logos/ (3 images)"]
    write(tmp_path / "s", ["test/people/0.jpg", "test/cars/0.jpg"])
    assert listed(tmp_path / "s").notes[:2] == ["parts: train from the class folders, test from test/", *listing.notes]
    listing = listed(write(tmp_path / "t", ["logos/{0..2}.jpg", "plots/{0..2}.jpg"]))
    assert counts(listing) == {"train": {"logos": 3, "plots": 3}}
    assert listing.notes == []


@pytest.mark.parametrize(
    "files",
    [
        ["vehicles/car/0.jpg", "vehicles/train/steam/0.jpg", "vehicles/train/diesel/0.jpg", "animals/cat/{0..2}.jpg"],
        ["vehicles/{0..3}.jpg", "vehicles/old/5.jpg", "vehicles/new/6.jpg", "animals/0.jpg"],
        ["vehicles/2019/0.jpg", "animals/0.jpg"],
    ],
)
def test_folders_in_a_class_do_not_hide_the_others(tmp_path: Path, files: list[str]) -> None:
    assert set(counts(listed(write(tmp_path / "s", files)))["train"]) == {"animals", "vehicles"}


def test_what_lies_in_a_folder_beside_train_is_no_set(tmp_path: Path) -> None:
    listing = listed(write(tmp_path / "s", [*PARTS, *below("old", PARTS), "docs/a.png"]))
    assert counts(listing) == IN_PARTS
    assert listing.notes == ["docs/ is not used (1 image)", "old/ is not used (16 images)"]


@pytest.mark.parametrize(
    ("folders", "inner"),
    [
        (["set1", "set2"], ["train/cat", "train/dog", "val/cat", "val/dog"]),
        (["fold1", "fold2", "fold3"], ["train/cat", "train/dog", "test/cat", "test/dog"]),
        (["fold1", "fold2"], ["cat", "dog"]),
        (["te", "tr"], ["cat", "dog"]),
        (["te", "tr", "va"], ["cat", "cow", "dog"]),
        (["trn", "tst"], ["cat/a", "dog/a"]),
        (["te", "tr"], ["images/cat", "images/dog"]),
        (["test", "tr"], ["cat", "dog"]),
    ],
)
def test_several_sets_are_no_classes_unless_the_classes_file_says_so(
    tmp_path: Path, folders: list[str], inner: list[str]
) -> None:
    root = write(tmp_path / "s", [f"{folder}/{name}/{{0..1}}.jpg" for folder in folders for name in inner])
    line = refused(root)
    assert f"several sets here: {', '.join(f'{folder}/' for folder in folders)}" in line
    assert "give one of them, call parts train/, val/ and test/ in one folder, or, if these are the classes" in line
    listing = listed(root, classes_file(tmp_path, *folders))
    assert [info.folder for info in listing.classes] == folders
    assert len(listing.items) == 2 * len(folders) * len(inner)
    write(root, [f"{folders[0]}/cover.jpg", "assets/logo.png"])
    assert refused(root) == line
    assert "several sets here" in refused(write(root, ["extra/1.jpg"]))


def test_a_set_may_lack_classes_of_another(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["tr/cat/0.jpg", "tr/dog/0.jpg", "tr/cow/0.jpg", "te/Dog/0.jpg", "te/Cat/0.jpg"])
    assert "te/, tr/, all with folders of cat/, cow/, dog/; give" in refused(root)


@pytest.mark.parametrize(
    ("folder", "beside"),
    [("data", ["sample/logo.png"]), ("repo", ["notebooks/out/a.png", "docs/b.png"]), ("data/all", ["extra/1.jpg"])],
)
@pytest.mark.parametrize("inner", ["", "train/"])
def test_one_picture_beside_the_folder_of_classes_is_no_second_class(
    tmp_path: Path, folder: str, beside: list[str], inner: str
) -> None:
    files = [f"{folder}/{c}/{inner}{{0..3}}.jpg" for c in ("cat", "dog")]
    root = write(tmp_path / "s", [*files, *beside])
    head = folder.partition("/")[0]
    others = sorted(name.partition("/")[0] for name in beside)
    line = refused(root)
    assert f"{head}/ could be a class beside {', '.join(f'{other}/' for other in others)}, or the folder of" in line
    assert f"classes cat/, dog/; name the classes with `classes_file`, or give {head}/ as `source`" in line
    heads = [head, *others]
    assert [info.words for info in listed(root, classes_file(tmp_path, *heads)).classes] == heads


@pytest.mark.parametrize(
    "files",
    [
        ["cars/front/{0..9}.jpg", "cars/back/{0..9}.jpg", "buses/{0..1}.jpg"],
        ["cars/front/0.jpg", "cars/back/0.jpg", "buses/front/0.jpg", "buses/side/0.jpg"],
        ["cars/{0..3}.jpg", "cars/a/5.jpg", "cars/b/6.jpg", "buses/{0..3}.jpg", "buses/a/5.jpg", "buses/b/6.jpg"],
        ["cars/images/0.jpg", "buses/images/0.jpg"],
        [f"{kind}/{place}/{k}.jpg" for kind in ("cats", "dogs") for place in ("indoor", "outdoor") for k in range(2)],
        [f"grade{k}/{side}/0.jpg" for k in range(3) for side in ("left", "right")],
        [f"{i:02}/{side}/0.jpg" for i in range(12) for side in ("left", "right")],
        [f"{kind}/{part}/0.jpg" for kind in ("bottle", "cable") for part in ("train/good", "test/good", "test/bent")],
    ],
)
def test_folders_in_classes_that_are_no_sets(tmp_path: Path, files: list[str]) -> None:
    listing = listed(write(tmp_path / "s", files))
    assert {info.folder for info in listing.classes} == {name.partition("/")[0] for name in files}


def test_a_table_of_labels_decides_where_folders_cannot(tmp_path: Path) -> None:
    names = [f"{folder}/{name}/{folder}{name}.jpg" for folder in ("set1", "set2") for name in ("x", "y")]
    root = write(tmp_path / "s", names)
    labels = "\n".join(f"{name},{'cat' if 'x' in name else 'dog'}" for name in names)
    (root / "metadata.csv").write_text(f"file_name,label\n{labels}\n")
    assert [info.words for info in listed(root).classes] == ["cat", "dog"]
    (root / "metadata.csv").write_text("\n".join(["file_name,age,size", *(f"{name},1,2" for name in names)]))
    assert "several sets here: set1/, set2/" in refused(root)
