"""Sets that lie among other files: one is read, several are refused, and what is not taken is counted."""

from collections import Counter
from pathlib import Path

import pytest

from feedline.convert.sources import open_source
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal, save_noise
from tests.convert.helpers import zipped as zip_of
from tests.convert.records import test_cifar, test_idx, test_parquet, test_webdataset


def photos(folder: Path) -> None:
    for number in range(6):
        save_noise(folder / "ab"[number % 2] / f"{number}.jpg", number)


def ignored(source: Path, tmp_path: Path) -> dict[str, str]:
    with open_source(str(source), tmp_path, tmp_path / "out") as listing:
        return dict(listing.ignored)


def make(kind: str, folder: Path) -> None:
    if kind == "MNIST":
        test_idx.save(folder, packed=True)
    elif kind == "CIFAR":
        test_cifar.save(folder, batches__meta={"label_names": ["a", "b"]})
        test_cifar.save(folder, data_batch_1=test_cifar.batch(1, 4, labels=[0, 1] * 2))
    elif kind == "Parquet":
        test_parquet.table(folder / "data/train-0.parquet", test_parquet.images(8), ["a", "b"] * 4)
    elif kind == "shards":
        test_webdataset.shard(folder / "train-0.tar", test_webdataset.samples(8))
    else:
        photos(folder)


@pytest.mark.parametrize(
    "kinds",
    [
        ("MNIST", "images"),
        ("CIFAR", "images"),
        ("CIFAR", "MNIST"),
        ("Parquet", "images"),
        ("shards", "images"),
        ("shards", "MNIST"),
        ("Parquet", "CIFAR"),
        ("shards", "Parquet"),
    ],
)
def test_two_sets_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str], kinds: tuple[str, str]) -> None:
    for kind in kinds:
        make(kind, tmp_path / "src" / f"my-{kind}")
    line = refusal(capsys, tmp_path / "src", tmp_path / "out")
    assert line.startswith(f"build.py: --source {tmp_path}/src: several sets here: ")
    assert line.endswith("; give one of them")
    for kind in kinds:
        assert f"my-{kind}/" in line
        assert f"({kind})" in line


@pytest.mark.parametrize("kind", ["MNIST", "CIFAR", "Parquet", "shards"])
def test_files_beside_a_set_are_counted(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "repo"
    make(kind, source / ("" if kind == "Parquet" else "data"))
    for name in ("README.md", "data/readme.html", ".gitattributes"):
        (source / name).write_text("x")
    (source / "assets").mkdir()
    for name in ("assets/thumb.jpg", "data/extra.jpg"):
        (source / name).write_bytes(jpeg())
    image = "an image beside the files that hold the images"
    assert ignored(source, tmp_path) == {
        ".gitattributes": "hidden",
        "README.md": "not an image",
        "assets/thumb.jpg": image,
        "data/extra.jpg": image,
        "data/readme.html": "not an image",
    }


@pytest.mark.parametrize("hidden", ["__MACOSX/set/._{}", "set/._{}", "#recycle/{}", "@eaDir/set/{}", ".backup/set/{}"])
@pytest.mark.parametrize(
    ("kind", "zipped"), [("MNIST", False), ("MNIST", True), ("CIFAR", False), ("CIFAR", True), ("Parquet", False)]
)
def test_what_systems_put_beside_a_set_is_none(tmp_path: Path, kind: str, hidden: str, zipped: bool) -> None:
    make(kind, tmp_path / "src/set")
    files = sorted(path for path in (tmp_path / "src").rglob("*") if path.is_file())
    copies = [tmp_path / "src" / hidden.format(path.name) for path in files]
    for path, copy in zip(files, copies, strict=True):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    source = zip_of(tmp_path / "src", tmp_path / "src.zip") if zipped else tmp_path / "src"
    assert ignored(source, tmp_path) == {str(copy.relative_to(tmp_path / "src")): "hidden" for copy in copies}


def test_an_archive_among_class_folders_is_counted(source: Path, tmp_path: Path) -> None:
    test_webdataset.shard(source / "backup.tar", test_webdataset.samples(8))
    with open_source(str(source), tmp_path, tmp_path / "out") as listing:
        assert [info.folder for info in listing.classes] == ["a", "b"]
        assert Counter(reason for _, reason in listing.ignored) == {"an archive; unpack it, or give it as source": 1}


def test_a_dataset_is_read_from_a_repository(tmp_path: Path) -> None:
    make("Parquet", tmp_path / "repo")
    save_noise(tmp_path / "repo/assets/thumb.png", 0)
    dataset = convert(tmp_path / "repo", tmp_path / "out")
    assert dataset.count == 8
