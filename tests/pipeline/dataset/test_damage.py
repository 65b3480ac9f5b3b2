"""Damaged or malicious dataset folders: each gives a one-line error."""

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline import Dataset, InputError, Loader
from feedline.pipeline.dataset import PartName, index
from feedline.pipeline.dataset.pack import PACK_INDEX
from feedline.pipeline.stores import STORES
from tests.pipeline.dataset.folders import edit


def described(**changes: Any) -> Callable[[Path], None]:
    return lambda root: edit(root, **changes)


def written(name: str, data: bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).write_bytes(data)

    return change


def filled(name: str, value: Any, field: str = "") -> Callable[[Path], None]:
    """Overwrites the third row of an array."""

    def change(root: Path) -> None:
        array = np.load(root / name)
        (array[field] if field else array)[2] = value
        np.save(root / name, array)

    return change


def other_path(path: bytes) -> Callable[[Path], None]:
    """Changes the path of the first image."""

    def change(root: Path) -> None:
        offsets, blob = np.load(root / "index/paths.npy"), (root / "index/paths.bin").read_bytes()
        (root / "index/paths.bin").write_bytes(path + blob[offsets[1] :])
        offsets[1:] += len(path) - offsets[1]
        np.save(root / "index/paths.npy", offsets)

    return change


def no_image(root: Path) -> None:
    next((root / "val").rglob("*.JPEG")).write_text("text")


def loaded(root: Path) -> None:
    """Reads a dataset as a loader does, with every store."""
    dataset = Dataset(root)
    for image in range(dataset.count):
        dataset.path(image)
    parts: tuple[PartName, ...] = ("train", "val")
    for store, part in itertools.product(STORES, parts):
        loader = Loader(dataset, split="official", part=part, store=store, engine="torch", batch_size=16, threads=1)
        assert sum(len(labels) for _, labels in loader) > 0


def test_the_untouched_copy_loads(copy: Path) -> None:
    loaded(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (described(count=10**15), r"expected int64 of shape \(1000000000000001,\)"),
        (described(count=-1), "dataset.json: ValueError"),
        (described(image_size=[0, 64]), "dataset.json: ValueError"),
        (described(image_size=[10**9, 10**9]), "dataset.json: ValueError"),
        (described(image_size="64"), "dataset.json: ValueError|no longer decodes"),
        (described(splits={"official": {"train": -5, "val": 2}}), "official-train.npy: expected"),
        (described(splits=[]), "dataset.json: AttributeError"),
        (described(classes=[{"id": 5, "folder": "a", "words": "a"}]), "dataset.json: ValueError on count or classes"),
        (described(mean="red"), "dataset.json: ValueError"),
        (described(packs={"raw": {"bytes": 1, "files": 1, "image_size": [2**40, 1]}}), "dataset.json: ValueError"),
        (described(packs={"raw": None}), "dataset.json: TypeError"),
        (written("dataset.json", b"[" * 100_000), "dataset.json: cannot be read"),
        (written("dataset.json", b'{"count": 1e400}'), "not the description"),
        (written("dataset.json", b"\xff\xfe"), "dataset.json: cannot be read"),
        (filled("index/labels.npy", -1), r"labels.npy: holds values outside 0\.\.3"),
        (filled("index/labels.npy", 4), r"labels.npy: holds values outside 0\.\.3"),
        (filled("index/official-train.npy", -7), r"official-train.npy: holds values outside 0\.\.127"),
        (filled("index/official-train.npy", 128), "official-train.npy: holds values outside"),
        (filled("index/paths.npy", 10**12), "paths.npy: holds values outside"),
        (other_path(b"../../../etc/passwd"), r"image 0 lies at '../../../etc/passwd', out of the folder"),
        (other_path(b"/etc/passwd"), "image 0 lies at '/etc/passwd', out of the folder"),
        (other_path(b"train/a\0b"), "out of the folder"),
        (other_path(b"train/\xff\xfe"), "the path of image 0 is not UTF-8"),
        (other_path(b""), "out of the folder"),
        (written("index/labels.npy", b"\x93NUMPY\x01\x00v\x00" + b"{" * 118), "labels.npy: cannot read this index"),
        (written("index/paths.bin", b""), "paths.bin: wrong length"),
        (filled("packs/jpeg/index.npy", 2**64 - 10, "offset"), "the index points outside the data"),
        (filled("packs/jpeg/index.npy", 2**32 - 1, "length"), "the index points outside the data"),
        (filled("packs/jpeg/index.npy", 7, "file"), "the index points outside the data"),
        (filled("packs/jpeg/index.npy", 20, "length"), "are not those that were written"),
        (written("packs/raw/00000.bin", b""), "00000.bin: cannot be mapped"),
        (written("packs/raw/00000.bin", b"x" * 1000), "the files are not 128 images of 12288 bytes"),
        (written("packs/raw/index.npy", b""), "packs/raw/index.npy: cannot read this index"),
        (lambda root: (root / "packs/raw/00000.bin").unlink(), "packs/raw: holds no data"),
        (lambda root: (root / "index/official-val.npy").unlink(), "official-val.npy: cannot read this index"),
        (lambda root: next((root / "val").rglob("*.JPEG")).unlink(), "No such file or directory"),
        (
            lambda root: shutil.copy(root / "dataset.json", next((root / "val").rglob("*.JPEG"))),
            "are not those that were written",
        ),
    ],
)
def test_a_damaged_folder_is_refused_with_one_line(copy: Path, change: Callable[[Path], None], message: str) -> None:
    change(copy)
    with pytest.raises(InputError, match=message) as caught:
        loaded(copy)
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


def test_sizes_in_a_pack_index_that_contradict_its_lengths(copy: Path) -> None:
    filled("packs/raw/index.npy", 63, "height")(copy)
    with pytest.raises(InputError, match="lengths and sizes in the index differ"):
        Dataset(copy).pack("raw").pixels(np.arange(5))
    assert PACK_INDEX.itemsize == 24


@pytest.mark.parametrize(
    ("name", "store"),
    [
        ("index/labels.npy", "raw"),
        ("index/sizes.npy", "files"),
        ("index/plain.npy", "jpeg"),
        ("index/paths.npy", "files"),
        ("index/paths.bin", "files"),
        ("index/official-train.npy", "raw"),
        ("packs/jpeg/index.npy", "jpeg"),
    ],
)
def test_an_index_that_is_cut_while_it_is_mapped(
    copy: Path, monkeypatch: pytest.MonkeyPatch, name: str, store: Any
) -> None:
    """Large ones are mapped; reading behind the end of a file would end the process."""
    monkeypatch.setattr(index, "MAPPED_FROM", 0)
    dataset = Dataset(copy)
    assert len(dataset.sizes) == dataset.count
    assert dataset.path(0)
    batches = iter(Loader(dataset, split="official", store=store, engine="torch", batch_size=4, threads=1, prefetch=1))
    next(batches)
    os.truncate(copy / name, 100)
    with pytest.raises(InputError, match=f"{name}: was changed while in use; build the dataset again") as caught:
        list(batches)
    assert str(copy) in str(caught.value)


def test_an_index_that_stays_is_read_as_before(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAPPED_FROM", 0)
    loaded(copy)
