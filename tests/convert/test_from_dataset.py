"""Any map-style dataset becomes a dataset folder: its images, targets and classes, and every refusal."""

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image as PilImage
from torch.utils.data import IterableDataset, Subset, TensorDataset
from torchvision import datasets as tv
from torchvision.transforms import v2

from feedline import Dataset, InputError, Loader
from feedline.convert import builder, from_dataset, images
from feedline.pipeline.dataset.decode import decode
from feedline.pipeline.errors import WorkerKilledError
from tests.conftest import convert
from tests.convert.fake_datasets import Image, Named, Pairs, Stream, hugging_face, letter, pixels
from tests.convert.helpers import ODD, file_digests, jpeg, save_odd


def stored(dataset: Dataset, image: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels of an image, from its file."""
    return np.asarray(PilImage.open(dataset.root / dataset.path(image)).convert("RGB"))


def left_out(dataset: Dataset) -> dict[str, str]:
    report = json.loads((dataset.root / "doctor.json").read_text())
    return {entry["path"]: entry["reason"] for entry in report["left_out"]}


def refused(out: Path, dataset: Any, **options: Any) -> str:
    """The line of a refusal, which must leave nothing behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(InputError) as caught:
        from_dataset(dataset, out, workers=1, **options)
    assert sorted(out.parent.iterdir()) == before
    assert "\n" not in caught.value.message
    return caught.value.message


# images


def as_float(index: int) -> torch.Tensor:
    return torch.from_numpy(pixels(index)).permute(2, 0, 1) / 255


MAKERS: dict[str, Callable[[int], Any]] = {
    "PIL": lambda i: PilImage.fromarray(pixels(i)),
    "PIL with alpha": lambda i: PilImage.fromarray(np.dstack([pixels(i), pixels(i)[:, :, :1]])),
    "array": pixels,
    "array, not contiguous": lambda i: pixels(i)[:, ::-1][:, ::-1],
    "float array": lambda i: pixels(i) / 255,
    "tensor": lambda i: torch.from_numpy(pixels(i)).permute(2, 0, 1),
    "ToTensor": as_float,
    "half": lambda i: as_float(i).half(),
    "tv_tensor": lambda i: v2.functional.to_image(PilImage.fromarray(pixels(i))),
}


@pytest.mark.parametrize("name", ODD)
def test_an_opened_file_is_what_decoding_makes_of_it(tmp_path: Path, name: str) -> None:
    save_odd(tmp_path)
    dataset = from_dataset(
        Pairs(lambda i: pixels(i) if i else PilImage.open(tmp_path / name)), tmp_path / "out", workers=1
    )
    assert np.array_equal(stored(dataset, 0), decode((tmp_path / name).read_bytes()).pixels)


@pytest.mark.parametrize("kind", MAKERS)
def test_pixels_of_every_kind_are_stored_exactly(tmp_path: Path, kind: str) -> None:
    dataset = from_dataset(Pairs(MAKERS[kind]), tmp_path / "out", workers=1)
    assert (dataset.count, dataset.image_size) == (20, (20, 30))
    for image in range(20):
        assert dataset.path(image) == f"train/{image % 2}/{image:09d}.png"
        assert np.array_equal(stored(dataset, image), pixels(image))


@pytest.mark.parametrize(
    "make",
    [
        lambda i: pixels(i)[:, :, 0],
        lambda i: pixels(i)[:, :, :1],
        lambda i: PilImage.fromarray(pixels(i)[:, :, 0]),
        lambda i: torch.from_numpy(pixels(i)[:, :, 0]),
        lambda i: torch.from_numpy(pixels(i)[:, :, 0])[None],
        lambda i: PilImage.fromarray(pixels(i)[:, :, 0].astype(np.uint16) * 256 + 7),
    ],
)
def test_images_of_one_channel_stay_gray(tmp_path: Path, make: Callable[[int], Any]) -> None:
    dataset = from_dataset(Pairs(make), tmp_path / "out", workers=1)
    assert dataset.meta["findings"]["gray"] == 20
    assert np.array_equal(stored(dataset, 7)[:, :, 2], pixels(7)[:, :, 0])
    assert np.array_equal(dataset.pack("raw").pixels(np.array([7]))[0][:, :, 1], pixels(7)[:, :, 0])


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, lambda data: {"bytes": data, "path": "x.jpg"}])
def test_files_are_kept_byte_for_byte(tmp_path: Path, wrap: Callable[[bytes], Any]) -> None:
    dataset = from_dataset(Pairs(lambda i: wrap(jpeg(i))), tmp_path / "out", workers=1)
    for image in range(20):
        assert dataset.path(image).endswith(f"{image:09d}.jpg")
        assert (dataset.root / dataset.path(image)).read_bytes() == jpeg(image)
        assert dataset.pack("jpeg").encoded(np.array([image]))[0].tobytes() == jpeg(image)


def encoded(index: int, kind: str) -> bytes:
    file = io.BytesIO()
    PilImage.fromarray(pixels(index)).save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["BMP", "PPM", "TIFF", "PNG"])
def test_files_of_other_kinds_are_or_become_png(tmp_path: Path, kind: str) -> None:
    dataset = from_dataset(Pairs(lambda i: encoded(i, kind)), tmp_path / "out", workers=1)
    assert dataset.path(3) == "train/1/000000003.png"
    file = (dataset.root / dataset.path(3)).read_bytes()
    assert file == encoded(3, kind) if kind == "PNG" else file.startswith(b"\x89PNG")
    assert np.array_equal(stored(dataset, 3), pixels(3))


def test_a_gif_becomes_png(tmp_path: Path) -> None:
    dataset = from_dataset(Pairs(lambda i: encoded(i, "GIF")), tmp_path / "out", workers=1)
    with PilImage.open(io.BytesIO(encoded(3, "GIF"))) as image:
        assert np.array_equal(stored(dataset, 3), np.asarray(image.convert("RGB")))
    assert dataset.path(3).endswith(".png")


@pytest.mark.parametrize("store", ["raw", "jpeg", "files"])
def test_the_loader_gives_the_pixels_of_the_dataset(tmp_path: Path, store: Any) -> None:
    parts = {
        "train": Pairs(lambda i: pixels(i, (24, 24))),
        "val": Pairs(lambda i: PilImage.fromarray(pixels(i, (24, 24), seed=1)), target=lambda i: i // 10),
    }
    dataset = from_dataset(parts, tmp_path / "out", workers=1)
    sides: list[tuple[Literal["train", "val"], int]] = [("train", 0), ("val", 1)]
    for part, seed in sides:
        with_labels = parts[part]
        loader = Loader(
            dataset, split="official", part=part, batch_size=5, store=store, dtype=torch.uint8, augment=(), threads=1
        )
        seen = []
        for k, (batch, labels) in enumerate(loader):
            for image, pixel, label in zip(loader.plan.batch(0, k).ids.tolist(), batch, labels.tolist(), strict=True):
                index = image if part == "train" else image - 20
                assert np.array_equal(pixel.permute(1, 2, 0).numpy(), pixels(index, (24, 24), seed))
                assert label == with_labels.target(index)
                seen.append(index)
        assert sorted(seen) == list(range(20))
        loader.close()


def test_a_dataset_that_reuses_its_buffer(tmp_path: Path) -> None:
    buffer = np.zeros((20, 30, 3), dtype=np.uint8)

    def fill(index: int) -> Any:
        buffer[:] = pixels(index)
        return buffer

    dataset = from_dataset(Pairs(fill), tmp_path / "out", workers=1)
    assert all(np.array_equal(stored(dataset, image), pixels(image)) for image in range(20))


# targets and classes


@pytest.mark.parametrize(
    "target",
    [
        lambda i: i % 2,
        lambda i: bool(i % 2),
        lambda i: np.int64(i % 2),
        lambda i: np.array(i % 2),
        lambda i: np.array([i % 2]),
        lambda i: torch.tensor(i % 2),
        lambda i: torch.tensor(i % 2, dtype=torch.uint8),
        lambda i: float(i % 2),
        lambda i: Named.classes[i % 2],
        lambda i: np.array(Named.classes)[i % 2],
    ],
)
def test_targets_of_every_kind(tmp_path: Path, target: Callable[[int], Any]) -> None:
    named = Named(target=target)
    dataset = from_dataset(named, tmp_path / "out", workers=1)
    assert dataset.labels.tolist() == [i % 2 for i in range(20)]
    assert [c.words for c in dataset.classes] == ["zebra", "ant / fly"]
    assert [c.folder for c in dataset.classes] == ["0_zebra", "1_ant _ fly"]


def test_texts_are_sorted_and_safe_as_folders(tmp_path: Path) -> None:
    names = ["b/../c", "a", "Ü\tx", "c" * 300]
    dataset = from_dataset(Pairs(target=lambda i: names[i % 4], count=40), tmp_path / "out", workers=1)
    assert [c.words for c in dataset.classes] == ["a", "b/../c", "c" * 300, "Ü x"]
    assert [c.folder for c in dataset.classes] == ["a", "b_.._c", "c" * 100, "Ü_x"]
    assert [dataset.classes[label].words for label in dataset.labels[:4]] == [n.replace("\t", " ") for n in names]
    folder = tv.ImageFolder(str(dataset.root / "train"))
    assert folder.classes == [c.folder for c in dataset.classes]


@pytest.mark.parametrize(
    "names", [["Cat", "cat"], ["..", "."], ["x" * 120 + "1", "x" * 120 + "2"], ["b", "a"], ["", "/"]]
)
def test_folders_are_unique_and_sort_in_label_order(tmp_path: Path, names: list[str]) -> None:
    dataset = from_dataset(Pairs(), tmp_path / "out", classes=names, workers=1)
    assert [c.words for c in dataset.classes] == names
    found = tv.ImageFolder(str(dataset.root / "train"))
    assert [label for _, label in found.samples] == sorted(dataset.labels.tolist())
    assert len({c.folder.casefold() for c in dataset.classes}) == 2


def test_more_than_ten_numbers_sort_as_numbers(tmp_path: Path) -> None:
    dataset = from_dataset(Pairs(target=lambda i: i % 12, count=48), tmp_path / "out", workers=1)
    assert [c.folder for c in dataset.classes] == [f"{label:02d}" for label in range(12)]
    assert [c.words for c in dataset.classes] == [str(label) for label in range(12)]
    assert dataset.labels.tolist() == [i % 12 for i in range(48)]
    assert tv.ImageFolder(str(dataset.root / "train")).classes == [c.folder for c in dataset.classes]


def test_classes_by_target(tmp_path: Path) -> None:
    """A dict takes targets that are no labels; its order is that of the labels."""
    numbers = from_dataset(
        Pairs(target=lambda i: (50, 7)[i % 2]), tmp_path / "n", classes={50: "fifty", 7: "seven"}, workers=1
    )
    texts = from_dataset(
        Pairs(target=lambda i: "ba"[i % 2]), tmp_path / "t", classes={"b": "bee", "a": "ant"}, workers=1
    )
    for dataset, names in ((numbers, ["fifty", "seven"]), (texts, ["bee", "ant"])):
        assert dataset.labels.tolist() == [i % 2 for i in range(20)]
        assert [c.words for c in dataset.classes] == names


def test_two_targets_may_share_a_class_folder(tmp_path: Path) -> None:
    dataset = from_dataset(
        Pairs(target=lambda i: (0, 1, "zero", "one")[i % 4]), tmp_path / "out", classes=["zero", "one"], workers=1
    )
    assert dataset.labels.tolist() == [i % 2 for i in range(20)]
    assert all((dataset.root / dataset.path(image)).exists() for image in range(20))


def test_a_class_without_images_keeps_its_label(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """EMNIST's letters are 1 to 26 of 27 classes."""
    with caplog.at_level(logging.WARNING):
        dataset = from_dataset(
            Pairs(target=lambda i: 1 + i % 2), tmp_path / "out", classes=["N/A", "a", "b", "c"], workers=1
        )
    assert "2 of 4 classes have no image: N/A, c" in caplog.text
    assert len(dataset.classes) == 4
    assert dataset.labels.tolist() == [1 + i % 2 for i in range(20)]


# parts


def test_parts_give_the_official_split(tmp_path: Path) -> None:
    parts = {"val": Named(lambda i: pixels(i, seed=1), count=8), "train": Named(count=20)}
    dataset = from_dataset(parts, tmp_path / "out", workers=1)
    assert dataset.splits["official"] == {"train": 20, "val": 8}
    assert dataset.ids("official", "train").tolist() == list(range(20))
    assert dataset.path(20) == "val/0_zebra/000000000.png"
    assert np.array_equal(stored(dataset, 21), pixels(1, seed=1))
    assert "official" not in from_dataset(Named(), tmp_path / "single", workers=1).splits


def test_val_is_matched_to_train_by_class_name(tmp_path: Path) -> None:
    """An ImageFolder of val that lacks a class numbers the others otherwise."""
    for part, names in (("train", "abc"), ("val", "ac")):
        for i in range(12):
            path = tmp_path / part / names[i % len(names)] / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PilImage.fromarray(pixels(i, seed=len(names))).save(path)
    parts = {part: tv.ImageFolder(str(tmp_path / part)) for part in ("train", "val")}
    dataset = from_dataset(parts, tmp_path / "out", workers=1)
    val = dataset.ids("official", "val")
    assert {dataset.path(i).split("/")[1] for i in val.tolist()} == {"a", "c"}
    assert set(dataset.labels[val].tolist()) == {0, 2}
    swapped = refused(tmp_path / "swapped", {"train": parts["val"], "val": parts["train"]})
    assert "val[4]: the target 1 ('b') is none of the 2 classes (a, c)" in swapped


# real datasets


def test_fake_data_of_torchvision(tmp_path: Path) -> None:
    fake = tv.FakeData(30, (3, 20, 30), num_classes=3)
    dataset = from_dataset(fake, tmp_path / "out", workers=1)
    for i in range(30):
        assert np.array_equal(stored(dataset, i), np.asarray(fake[i][0]))
        assert dataset.labels[i] == fake[i][1]
    assert dataset.meta["source"] == {"dataset": "torchvision.datasets.fakedata.FakeData", "parts": {"train": 30}}


def test_image_folder_of_torchvision(tmp_path: Path, photos: Path, varied: Dataset) -> None:
    dataset = from_dataset(tv.ImageFolder(str(photos)), tmp_path / "out", workers=1)
    assert [c.words for c in dataset.classes] == ["cat food", "dogs"]
    ids = np.arange(24)
    pairs = zip(dataset.pack("raw").pixels(ids), varied.pack("raw").pixels(ids), strict=True)
    assert all(np.array_equal(ours, of_file) for ours, of_file in pairs)
    assert dataset.mean == varied.mean


def test_subsets_and_tensors(tmp_path: Path) -> None:
    named: Any = Named()
    subset = from_dataset(Subset(named, range(10, 20)), tmp_path / "subset", workers=1)
    assert [c.words for c in subset.classes] == ["zebra", "ant / fly"]
    assert np.array_equal(stored(subset, 0), pixels(10))
    tensors = TensorDataset(torch.stack([as_float(i) for i in range(10)]), torch.arange(10) % 2)
    assert np.array_equal(stored(from_dataset(tensors, tmp_path / "tensors", workers=1), 9), pixels(9))
    pairs = [(pixels(i), "ab"[i % 2]) for i in range(10)]
    assert from_dataset(pairs, tmp_path / "list", workers=1).count == 10


def test_hugging_face_rows_keep_their_files(tmp_path: Path) -> None:
    dataset = from_dataset(hugging_face(), tmp_path / "out", workers=1)
    assert [c.words for c in dataset.classes] == ["cat", "dog"]
    assert dataset.labels.tolist() == [i % 2 for i in range(20)]
    assert all((dataset.root / dataset.path(i)).read_bytes() == jpeg(i) for i in range(20))


def test_hugging_face_images_that_are_changed_are_stored_as_pixels(tmp_path: Path) -> None:
    """With a mode, or a transform of the user, what counts is what the dataset gives."""
    turned = hugging_face()
    turned.set_transform(lambda row: {**row, "image": row["image"].transpose(PilImage.Transpose.ROTATE_90)})
    dataset = from_dataset(turned, tmp_path / "turned", workers=1)
    assert np.array_equal(stored(dataset, 3), np.asarray(turned[3]["image"]))
    gray = hugging_face(mode="L")
    dataset = from_dataset(gray, tmp_path / "gray", workers=1)
    assert np.array_equal(stored(dataset, 3)[:, :, 0], np.asarray(gray[3]["image"]))


def test_columns(tmp_path: Path) -> None:
    assert from_dataset(hugging_face(column="labels"), tmp_path / "labels", workers=1).count == 20
    named = from_dataset(hugging_face(column="species"), tmp_path / "named", label="species", workers=1)
    assert [c.words for c in named.classes] == ["cat", "dog"]
    line = refused(tmp_path / "x", hugging_face(column="species"))
    assert line == "`dataset`: has the columns image, species, note; name the one with the label with `label`"
    both = hugging_face()
    both.features["img"], both.rows = Image(), [{**row, "img": row["image"]} for row in both.rows]
    assert "columns image, label, note, img; name the one with the image with `image`" in refused(tmp_path / "x", both)
    line = refused(tmp_path / "x", hugging_face(), label="lable")
    assert line == "`label=lable`: no such column; the dataset has image, label, note"
    triples = [(i, pixels(i), i % 2) for i in range(20)]
    assert from_dataset(triples, tmp_path / "triples", image=1, label=2, workers=1).labels.tolist() == [0, 1] * 10


# promises


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2}, {"workers": 2, "read_in_workers": True}])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, options: dict[str, Any]) -> None:
    def build(out: Path, **options: Any) -> Dataset:
        parts = {"train": Pairs(target=letter, count=300), "val": Pairs(jpeg, letter)}
        return from_dataset(parts, out, **options)

    first, again = build(tmp_path / "first" / "out", workers=1), build(tmp_path / "again" / "out", **options)
    assert file_digests(first) == file_digests(again)
    assert (first.root / "dataset.json").read_bytes() == (again.root / "dataset.json").read_bytes()


def test_the_split_does_not_depend_on_how_pixels_are_compressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = from_dataset(Pairs(), tmp_path / "first", workers=1)
    save = PilImage.Image.save

    def save_otherwise(self: PilImage.Image, file: Any, kind: str, **options: Any) -> None:
        save(self, file, kind, **{**options, "compress_level": 9})

    monkeypatch.setattr(PilImage.Image, "save", save_otherwise)
    other = from_dataset(Pairs(), tmp_path / "other", workers=1)
    assert (other.root / other.path(0)).read_bytes() != (first.root / first.path(0)).read_bytes()
    assert other.fingerprint == first.fingerprint
    assert other.ids("70-30", "val").tolist() == first.ids("70-30", "val").tolist()


def test_a_second_call_opens_what_is_there(tmp_path: Path) -> None:
    first = from_dataset(Named(), tmp_path / "out", workers=1, packs="raw")
    before = {p: p.stat().st_mtime_ns for p in first.root.rglob("*")}
    assert from_dataset(Named(), tmp_path / "out", workers=2, packs=["raw"]).fingerprint == first.fingerprint
    assert {p: p.stat().st_mtime_ns for p in first.root.rglob("*")} == before


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        (Pairs(), {}, "was built with source"),
        (Named(count=22), {}, "was built with parts {'train': 20}, now {'train': 22} is asked for"),
        (Named(lambda i: pixels(i, seed=5)), {}, "was built with content"),
        (Named(target=lambda i: 1 - i % 2), {}, "was built with content"),
        (Named(), {"classes": ["a", "b"]}, "was built with classes"),
        (Named(), {"seed": 1}, "was built with seed 0, now 1 is asked for"),
        (Named(), {"packs": ()}, "was built with packs ['jpeg', 'raw'], now [] is asked for"),
    ],
)
def test_another_dataset_replaces_the_folder_with_force_only(
    tmp_path: Path, dataset: Pairs, options: dict[str, Any], message: str
) -> None:
    before = from_dataset(Named(), tmp_path / "out", workers=1)
    line = refused(tmp_path / "out", dataset, **options)
    assert line.startswith(f"{tmp_path / 'out'}: {message}")
    assert line.endswith("add `force` to build it again, or choose another `out`")
    after = from_dataset(dataset, tmp_path / "out", workers=1, force=True, **options)
    assert after.meta["build"] != before.meta["build"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_the_command_is_not_taken_for_a_dataset(tmp_path: Path, photos: Path) -> None:
    convert(photos, tmp_path / "out")
    line = refused(tmp_path / "out", tv.ImageFolder(str(photos)))
    assert f"was built with source {photos.name}, now torchvision.datasets.folder.ImageFolder is asked for" in line


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(index: int) -> Any:
        if index == 9:  # not in the sample that is read first
            raise KeyboardInterrupt
        return pixels(index)

    with pytest.raises(KeyboardInterrupt):
        from_dataset(Pairs(interrupt, count=100), tmp_path / "out", workers=1)
    assert list(tmp_path.iterdir()) == []
    before = file_digests(from_dataset(Pairs(), tmp_path / "out", workers=1))
    monkeypatch.setattr(builder, "write_meta", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        from_dataset(Pairs(), tmp_path / "out", workers=1, force=True)
    assert file_digests(Dataset(tmp_path / "out")) == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_worker_that_is_killed_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "convert_images", lambda _: os._exit(9))
    with pytest.raises(WorkerKilledError):
        from_dataset(Pairs(count=600), tmp_path / "out", workers=2)
    assert list(tmp_path.iterdir()) == []


def broken(index: int) -> Any:
    if index == 3:
        raise ValueError("no such record\nand more")
    if index == 5:
        return PilImage.open(io.BytesIO(jpeg(5)[:300]))
    return {7: jpeg(7)[:300], 9: b"no image", 11: np.zeros((0, 4, 3), dtype=np.uint8)}.get(index, pixels(index))


@pytest.mark.parametrize("read_in_workers", [False, True])
def test_items_that_cannot_be_used_are_listed_by_index(tmp_path: Path, read_in_workers: bool) -> None:
    dataset = from_dataset(Pairs(broken, count=100), tmp_path / "out", workers=2, read_in_workers=read_in_workers)
    reasons = left_out(dataset)
    assert list(reasons) == [f"dataset[{i}]" for i in (3, 5, 7, 9, 11)]
    assert reasons["dataset[3]"] == "does not decode: reading it raised ValueError: no such record"
    assert reasons["dataset[9]"] == "does not decode: not an image"
    assert dataset.count == 95
    assert dataset.path(3) == "train/0/000000004.png"
    assert np.array_equal(stored(dataset, 3), pixels(4))
    line = refused(tmp_path / "strict", Pairs(broken, count=100), strict=True)
    assert line.startswith("dataset[3]: does not decode (reading it raised ValueError: no such record); remove it")


def test_the_doctor_finds_duplicates(tmp_path: Path) -> None:
    dataset = from_dataset(Pairs(lambda i: pixels(i % 15)), tmp_path / "out", workers=1)
    assert dataset.meta["findings"]["duplicate_groups"] == 5
    assert dataset.meta["findings"]["conflicting_groups"] == 5


def test_max_size_limits_images(tmp_path: Path) -> None:
    dataset = from_dataset(Pairs(), tmp_path / "out", workers=1, max_size=10)
    assert dataset.image_size == (10, 15)
    assert dataset.packs["raw"]["image_size"] == [10, 15]
    assert stored(dataset, 0).shape == (10, 15, 3)
    assert dataset.path(0).endswith("/000000000.jpg")


def deep_tiff(index: int) -> bytes:
    file = io.BytesIO()
    PilImage.fromarray(np.full((20, 30), 0x4000 + index, np.uint16)).save(file, "TIFF")
    return file.getvalue()


def two_bit_png(index: int) -> bytes:
    image = PilImage.fromarray(np.random.default_rng(index).integers(0, 4, (20, 30), dtype=np.uint8)).convert("P")
    image.putpalette([level for level in (10, 20, 30, 40) for _ in "RGB"])
    file = io.BytesIO()
    image.save(file, "PNG", bits=2)
    assert file.getvalue()[24] == 2
    return file.getvalue()


@pytest.mark.parametrize(("make", "levels"), [(deep_tiff, [64]), (two_bit_png, [10, 20, 30, 40])])
def test_files_that_not_every_engine_reads_are_saved_again(
    tmp_path: Path, make: Callable[[int], bytes], levels: list[int]
) -> None:
    dataset = from_dataset(Pairs(make), tmp_path / "out", workers=1)
    assert dataset.path(0).endswith("/000000000.png")
    file = dataset.root / dataset.path(0)
    assert file.read_bytes()[24] == 8, "bits of a sample, in the file's header"
    assert np.unique(np.asarray(PilImage.open(file))).tolist() == levels


# refusals


def normalised(index: int) -> torch.Tensor:
    return (as_float(index) - 0.5) / 0.25


def changing(index: int, calls: list[int] = []) -> Any:  # noqa: B006
    calls.append(index)
    return pixels(index, seed=len(calls))


class Sized(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter([(pixels(0), 0)])

    def __len__(self) -> int:
        return 4


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "stream": (Stream(), {}, "`dataset`: a Stream has no length or no item by index; give a map-style dataset"),
    "iterable with len": (Sized(), {}, "`dataset`: a Sized has no length or no item by index"),
    "set": ({1, 2}, {}, "`dataset`: a set has no length or no item by index"),
    "path": (Path("photos"), {}, "`dataset=photos`: is a path; convert a folder or a zip with "),
    "empty": ([], {}, "`dataset`: the list is empty"),
    "empty val": ({"train": Pairs(), "val": []}, {}, "`val`: the list is empty"),
    "parts": ({"train": Pairs(), "dev": Pairs()}, {}, "`dataset`: has the parts train, dev; choose what to train"),
    "no train": ({"val": Pairs()}, {}, "`dataset`: has the parts val; choose"),
    "no parts": ({}, {}, "`dataset`: has the parts none; choose"),
    "triple": ([(pixels(0), 0, 1)], {}, "dataset[0]: is a tuple of 3, not a pair of an image and a target; name what"),
    "image only": ([pixels(0)], {}, "dataset[0]: is of type ndarray with shape [20, 30, 3], not a pair"),
    "no such position": ([(pixels(0), 0)], {"label": 5}, "dataset[0]: is a tuple of 2, which has no `image=0` or no"),
    "text": (Pairs(str), {}, "dataset[0]: the image is of type str; taken are a PIL image, the bytes of an image"),
    "planes": (
        Pairs(lambda i: pixels(i).transpose(2, 0, 1)),
        {},
        "dataset[0]: the image is of type ndarray with shape [3, 20, 30]; taken are",
    ),
    "rgba array": (Pairs(lambda i: np.zeros((4, 4, 4), np.uint8)), {}, "dataset[0]: the image is of type ndarray with"),
    "tensor channels last": (
        Pairs(lambda i: torch.zeros(20, 30, 3)),
        {},
        "dataset[0]: the image is of type Tensor with shape [20, 30, 3]; taken are",
    ),
    "int64": (Pairs(lambda i: np.zeros((4, 4), np.int64)), {}, "dataset[0]: the image has the dtype int64; give uint8"),
    "mode F": (
        Pairs(lambda i: PilImage.new("F", (4, 4))),
        {},
        "dataset[0]: the image has pixels of 32 bits or signed (mode F)",
    ),
    "normalised": (
        Pairs(normalised),
        {},
        "dataset[0]: the image has floats from -2 to 2, taken are 0 to 1; leave Norm",
    ),
    "0..255": (Pairs(lambda i: as_float(i) * 255), {}, "dataset[0]: the image has floats from 0 to 255, taken are 0"),
    "nan": (Pairs(lambda i: as_float(i) * float("nan")), {}, "dataset[0]: the image has floats from nan to nan"),
    "resized float": (
        Pairs(lambda i: as_float(i) * 0.7),
        {},
        "dataset[0]: the image has floats between the 256 levels",
    ),
    "random": (Pairs(changing), {}, "dataset[0]: differs each time it is read, and a dataset folder would keep one"),
    "all raise": (Pairs(lambda i: 1 / 0), {}, "dataset: none of 16 items tried can be read; dataset[0]: reading it ra"),
    "none decode": (Pairs(lambda i: b"text"), {}, "`dataset`: none of the 20 items of train can be used; dataset[0] d"),
    "no class": (Pairs(target=lambda i: None), {}, "dataset[0]: the target is None, not a class (an int or a str); f"),
    "regression": (Pairs(target=lambda i: 0.5), {}, "dataset[0]: the target is 0.5, not a class (an int or a str)"),
    "one-hot": (
        Pairs(target=lambda i: np.eye(2)[i % 2]),
        {},
        "dataset[0]: the target is of type ndarray with shape [2]",
    ),
    "one-hot tensor": (
        Pairs(target=lambda i: torch.eye(2)[i % 2]),
        {},
        "dataset[0]: the target is of type Tensor with",
    ),
    "boxes": (Pairs(target=lambda i: {"boxes": []}), {}, "dataset[0]: the target is {'boxes': []}, not a class"),
    "beyond": (
        Named(target=lambda i: i % 3),
        {},
        "dataset[2]: the target 2 is none of the 2 classes (zebra, ant / fly); correct it, or give `classes`",
    ),
    "unlabelled": (
        Named(target=lambda i: -1),
        {},
        "dataset[0]: the target -1 is none of the 2 classes (zebra, ant",
    ),
    "negative": (
        Pairs(target=lambda i: -1),
        {},
        "dataset[0]: the target -1 is no class (often the mark of an i",
    ),
    "unknown text": (Named(target=lambda i: "fly"), {}, "dataset[0]: the target 'fly' is none of the 2 classes"),
    "mixed": (
        Pairs(target=lambda i: (0, "a")[i % 2]),
        {},
        "dataset[1]: the target 'a' is str, those before it are",
    ),
    "gap": (
        Pairs(target=lambda i: 1 + i % 2),
        {},
        "`dataset`: its targets are 2 numbers from 1 to 2, not 0 to 1; give `classes`: names for 0 to 2, or a dict",
    ),
    "val only": (
        {"train": Pairs(), "val": Pairs(target=lambda i: i % 3)},
        {},
        "`dataset`: val has the target 2, which train lacks",
    ),
    "classes text": (
        Pairs(),
        {"classes": "ab"},
        "`classes='ab'`: give a list of class names in label order, or a dict",
    ),
    "no classes": (Pairs(), {"classes": []}, "`classes=[]`: give a list of class names"),
    "few classes": (Pairs(), {"classes": ["a"]}, "dataset[1]: the target 1 is none of the 1 class (a); correct it"),
    "packs": (Pairs(), {"packs": "tar"}, "`packs=tar`: choose from jpeg, raw"),
    "val_fraction": (Pairs(), {"val_fraction": 1.5}, "`val_fraction=1.5`: must be at least 0 and below 1"),
    "text fraction": (Pairs(), {"val_fraction": "0.3"}, "`val_fraction='0.3'`: must be a number"),
    "seed": (Pairs(), {"seed": 0.5}, "`seed=0.5`: must be a whole number"),
    "max_size": (Pairs(), {"max_size": 7}, "`max_size=7`: must be at least 8 pixels"),
    "too few": (Pairs(count=2), {}, "`val_fraction=0.3`: each class has one image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_input_is_one_clear_line(tmp_path: Path, case: str) -> None:
    dataset, options, message = REFUSED[case]
    assert refused(tmp_path / "out", dataset, **options).startswith(message)


def test_a_folder_that_is_not_a_dataset_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    for force in (False, True):
        line = refused(tmp_path / "mine", Pairs(), force=force)
        assert line.endswith("mine: already exists and is not a dataset; choose another `out`")


def test_a_lack_of_space_is_reported_before_the_dataset_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    reads: list[int] = []
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    line = refused(tmp_path / "out", Pairs(lambda i: reads.append(i) or pixels(i), count=10_000))  # type: ignore[func-returns-value]
    assert re.search(r"needs about .* MiB, and 0.0 MiB are free there; free some space", line)
    assert len(set(reads)) < 20


def test_importing_the_converter_imports_no_torch() -> None:
    code = "import sys, feedline.convert.build, feedline.convert.indexed.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
