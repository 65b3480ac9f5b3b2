"""Which files are taken as images, and what is said of the others."""

import importlib.util
import io
import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from feedline import Dataset
from feedline.convert.trees.folder import FolderTree
from tests.conftest import convert
from tests.convert.helpers import jpeg
from tests.convert.trees import counts, listed, refused, write

FORMATS = {"jp2": "JPEG2000", "avif": "AVIF", "gif": "GIF", "jfif": "JPEG", "jpe": "JPEG", "tga": "TGA", "dib": "DIB"}


def encoded(kind: str, seed: int = 1) -> bytes:
    file = io.BytesIO()
    Image.open(io.BytesIO(jpeg(seed, (16, 16)))).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("suffix", sorted(FORMATS))
@pytest.mark.parametrize("upper", [False, True])
def test_what_pillow_decodes_is_taken(tmp_path: Path, suffix: str, upper: bool) -> None:
    for seed in range(8):
        write(tmp_path / "s", [f"{'ab'[seed % 2]}/{seed}.png"], encoded("PNG", seed))
    for seed in range(3):
        name = f"a/{seed}.{suffix.upper() if upper else suffix}"
        write(tmp_path / "s", [name], encoded(FORMATS[suffix], 100 + seed))
    dataset = convert(tmp_path / "s", tmp_path / "out", "--val-fraction", "0.5", "--packs", "")
    assert dataset.count == 11


@pytest.mark.parametrize("name", ["img{0..3}", "img.{0..3}", "{0..3}.img", "x.jpg_{0..3}", "IMG 2019.01.{0..3}"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM"])
def test_files_of_no_known_suffix_are_known_by_their_bytes(tmp_path: Path, name: str, kind: str) -> None:
    root = write(tmp_path / "s", [f"a/{name}", "b/0.jpg"], encoded(kind))
    write(root, ["a/Makefile", "a/notes.unknown"], b"all:\n\techo a text\n")
    listing = listed(root)
    assert counts(listing) == {"train": {"a": 4, "b": 1}}
    assert dict(listing.ignored) == {"a/Makefile": "not an image", "a/notes.unknown": "not an image"}


def test_many_files_of_an_unknown_suffix_are_not_all_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "s", ["a/0.jpg", "b/0.jpg"])
    write(root, ["a/{0..999}.dat"], b"no image")
    write(root, ["a/{0..999}.blob"])
    read, begun, head = list[Path](), list[str](), FolderTree.head
    monkeypatch.setattr(Path, "read_bytes", read.append)
    monkeypatch.setattr(FolderTree, "head", lambda tree, name, count: begun.append(name) or head(tree, name, count))  # type: ignore[func-returns-value]
    listing = listed(root)
    assert counts(listing) == {"train": {"a": 1001, "b": 1}}
    assert len(listing.ignored) == 1000
    assert not read, "the first bytes of a file tell"
    assert 0 < len(begun) < 100


def test_what_cannot_be_decoded_is_counted_with_the_remedy(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["a/0.jpg", "b/0.jpg", "a/{0..4}.svg", "b/clip.mp4", "b/c.npy", "labels.txt"], b"...")
    listing = listed(root)
    assert listing.notes == [
        ".mp4: 1 file not taken: a film; save its frames as images",
        ".npy: 1 file not taken: an array; read it in Python, with feedline.from_dataset",
        ".svg: 5 files not taken: cannot be decoded here; save as PNG",
    ]
    assert ("labels.txt", "not an image") in listing.ignored


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is not None, reason="HEIF can be decoded here")
def test_heic_names_the_package(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["a/0.jpg", "b/0.jpg", "a/{0..2}.HEIC"])
    assert listed(root).notes == [
        ".heic: 3 files not taken: HEIF cannot be decoded here; install pillow-heif, or save as JPEG"
    ]
    assert "pillow-heif" in refused(write(tmp_path / "only", ["a/0.heic", "b/0.heic"]))


HIDDEN = [".ipynb_checkpoints/x.jpg", "@eaDir/x.jpg", ".git/objects/x.jpg", "__MACOSX/a/x.jpg", ".thumbnails/x.jpg"]
HIDDEN += [
    "lost+found/x.jpg",
    "#recycle/x.jpg",
    "@Recycle/x.jpg",
    "$RECYCLE.BIN/x.jpg",
    "RECYCLER/S-1-5-21/x.jpg",
    "#snapshot/daily/a/0.jpg",
    "@Recently-Snapshot/a/0.jpg",
    "~snapshot/a/0.jpg",
    "@tmp/x.jpg",
    "@SynoDrive/x.jpg",
    "FOUND.000/x.jpg",
    "a/__pycache__/x.jpg",
    "a/ehthumbs.db",
    "a/Icon\r",
    "a/Thumbs.db",
    "a/.DS_Store",
    "a/._x.jpg",
    "a/@eaDir/0.jpg/SYNO_THUMB.jpg",
    "desktop.ini",
]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("part", ["", "train/"])
def test_what_systems_put_into_folders_is_no_class(tmp_path: Path, part: str, zipped: bool) -> None:
    files = [f"{part}{name}" for name in ["a/0.jpg", "b/0.jpg", *HIDDEN]]
    root = write(tmp_path / "s", files)
    if zipped:
        with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
            for name in files:
                archive.write(root / name, name)
        root = tmp_path / "s.zip"
    listing = listed(root)
    assert counts(listing) == {"train": {"a": 1, "b": 1}}
    assert listing.ignored == [(name, "hidden") for name in sorted(files) if name.removeprefix(part) in HIDDEN]
    assert listing.left_out == []


@pytest.mark.parametrize(
    "names", [["#cat", "#dog"], ["@", "#"], ["#1", "#2"], ["@home", "a"], ["~a", "snapshot"], ["tmp", "recycle"]]
)
def test_a_class_may_begin_with_a_mark(tmp_path: Path, names: list[str]) -> None:
    root = write(tmp_path / "s", [f"{name}/0.jpg" for name in names])
    assert counts(listed(root)) == {"train": dict.fromkeys(names, 1)}
    assert listed(root).ignored == []


def test_a_hidden_folder_without_images_is_no_empty_class(tmp_path: Path) -> None:
    root = write(tmp_path / "s", ["a/0.jpg", "b/0.jpg"])
    for name in (".git", "@eaDir", "empty"):
        os.mkdir(root / name)  # noqa: PTH102
    assert listed(root).left_out == [("empty/", "a class folder without images")]


def test_every_file_is_an_item_or_counted(unusual: Path) -> None:
    write(unusual, ["train/a/.hidden", "test/1.jpg", "beside/b/1.jpg", "train/a/x.heic", "words.md"])
    listing = listed(unusual)
    names = [item.name for item in listing.items] + [name for name, _ in [*listing.left_out, *listing.ignored]]
    assert sorted(names) == sorted(str(p.relative_to(unusual)) for p in unusual.rglob("*") if p.is_file())


def test_the_built_dataset_says_what_was_not_taken(tiny_source: Path, dataset: Dataset) -> None:
    listing = listed(tiny_source)
    assert listing.left_out == []
    assert ("wnids.txt", "a label file") in listing.ignored
    assert len(listing.items) == dataset.count
