"""webdataset shards become a dataset."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, InputError
from feedline.convert.records import webdataset
from feedline.convert.trees.tar import TarTree
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal


def shard(path: Path, samples: Sequence[Mapping[str, bytes]], mode: str = "w") -> Path:
    """A tar of samples, each {what follows the key: content}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    any_mode: Any = mode
    with tarfile.open(path, any_mode) as archive:
        for number, files in enumerate(samples):
            for suffix, data in files.items():
                entry = tarfile.TarInfo(f"{number:06d}.{suffix}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return path


def samples(count: int, seed: int = 0) -> list[dict[str, bytes]]:
    return [{"jpg": jpeg(seed + i), "cls": str(i % 2).encode()} for i in range(count)]


def left_out(dataset: Dataset) -> dict[str, str]:
    return {r["path"]: r["reason"] for r in json.loads((dataset.root / "doctor.json").read_text())["left_out"]}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_shards_are_read_by_pattern(tmp_path: Path, workers: str) -> None:
    for number in range(3):
        shard(tmp_path / f"pets-{number:03d}.tar", samples(6, 10 * number))
    dataset = convert(f"{tmp_path}/pets-{{000..002}}.tar", tmp_path / "out", "--workers", workers)
    assert dataset.name == "pets"
    assert dataset.count == 18
    assert list(dataset.labels) == [0, 1] * 9, "in the order of the shards"
    files = sorted(p.read_bytes() for p in dataset.root.rglob("*.jpg"))
    assert files == sorted(jpeg(10 * number + i) for number in range(3) for i in range(6))


@pytest.mark.parametrize("layout", ["{part}-000.tar", "pets_{part}_000.tar", "{part}/000.tar"])
def test_parts_are_in_the_names(tmp_path: Path, layout: str) -> None:
    for seed, part in enumerate(("train", "validation", "test")):
        shard(tmp_path / "shards" / layout.format(part=part), samples(6, 10 * seed))
    dataset = convert(tmp_path / "shards", tmp_path / "out")
    assert dataset.splits["official"] == {"train": 6, "val": 6, "test": 6}


def test_one_shard(tmp_path: Path) -> None:
    assert convert(shard(tmp_path / "x.tar", samples(8)), tmp_path / "out").count == 8


def test_compressed_shards(tmp_path: Path) -> None:
    for number in range(2):
        shard(tmp_path / f"x-{number}.tar.gz", samples(4, 10 * number), "w:gz")
    assert convert(f"{tmp_path}/x-*.tar.gz", tmp_path / "out").count == 8
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x-0.tar.gz", "x-1.tar.gz"]


def test_shards_that_have_one_name_without_their_compression(tmp_path: Path) -> None:
    """Both are read, whichever part of the name looks like a suffix."""
    names = ["a.tar", "a.tar.gz", "a.tgz", "v1.target-0.tgz", "v1.target-1.tgz"]
    for number, name in enumerate(names):
        shard(tmp_path / "in" / name, samples(4, 10 * number), "w:gz" if name.endswith("gz") else "w")
    dataset = convert(tmp_path / "in", tmp_path / "out")
    files = sorted(p.read_bytes() for p in dataset.root.rglob("*.jpg"))
    assert files == sorted(jpeg(10 * number + i) for number in range(5) for i in range(4))


def test_shards_without_an_image_to_train_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for part in ("test", "val"):
        line = refusal(capsys, shard(tmp_path / f"pets-{part}.tar", samples(8)), tmp_path / "out")
        assert f"all its images are of {part}, as names or a column of the source say, and none is left" in line
    texts = [{"jpg": jpeg(i), "cls": b"cat" if i % 2 else b"dog"} for i in range(8)]
    shard(tmp_path / "in/0.tar", texts)
    (tmp_path / "in/classes.txt").write_text("tabby cat\ngolden dog\n")
    line = refusal(capsys, tmp_path / "in", tmp_path / "out")
    assert "no image has a label: 0.tar/000000.jpg: the label 'dog' is no class; " in line
    assert "classes.txt names the classes, correct it or take it away" in line
    path = shard(tmp_path / "none.tar", [{"jpg": jpeg(i), "cls": b"-1"} for i in range(8)])
    assert "the label -1 is no class; below 0 it says that there is none" in refusal(capsys, path, tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            [{"json": b'{"label": 1, "class_name": "dog"}'}, {"json": b'{"label": 0, "class_name": "cat"}'}],
            ["cat", "dog"],
        ),
        ([{"json": b'{"label": 3}'}, {"json": b'{"label": 1}'}], ["1", "3"]),
        ([{"json": b'{"class": "dog"}'}, {"json": b'{"class": "cat"}'}], ["cat", "dog"]),
        ([{"cls": b"dog\n"}, {"cls": b"cat\n"}], ["cat", "dog"]),
        ([{"cls": b"1"}, {"cls": b"0"}], ["0", "1"]),
        ([{"cls": b"1.0"}, {"cls": b"0"}], ["0", "1"]),
        ([{"CLS": b"1", "json": b"{"}, {"CLS": b"0", "txt": b"a photo"}], ["0", "1"]),
    ],
)
def test_labels(tmp_path: Path, labels: list[dict[str, bytes]], words: list[str]) -> None:
    path = shard(tmp_path / "x.tar", [{**labels[i % 2], "jpg": jpeg(i)} for i in range(8)])
    dataset = convert(path, tmp_path / "out")
    assert [c.words for c in dataset.classes] == words
    assert list(dataset.labels) == [1, 0] * 4


def test_a_classes_file_for_shards_is_told_as_for_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [{"jpg": jpeg(i), "cls": b"cat" if i % 2 else b"dog"} for i in range(8)]
    (tmp_path / "c.txt").write_text("dog\ncat\nemu\n")
    path = shard(tmp_path / "x.tar", texts)
    dataset = convert(path, tmp_path / "out", "--classes-file", str(tmp_path / "c.txt"))
    assert [info.words for info in dataset.classes] == ["dog", "cat", "emu"]
    out = capsys.readouterr().out
    assert "classes without any image: 2_emu" in out
    assert "classes: 3, in the order of c.txt" in out


def test_class_names_beside_the_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard(tmp_path / "train/0.tar", samples(8))
    (tmp_path / "train/classnames.txt").write_text("cat\ndog\n")
    (tmp_path / "labels.txt").write_text("wrong\nwronger\n")
    dataset = convert(f"{tmp_path}/train/*.tar", tmp_path / "out")
    assert [c.words for c in dataset.classes] == ["cat", "dog"]
    assert "classes: named by classnames.txt" in capsys.readouterr().out
    (tmp_path / "train/classnames.txt").unlink()
    dataset = convert(f"{tmp_path}/train/*.tar", tmp_path / "plain")
    assert [c.words for c in dataset.classes] == ["0", "1"], "a file in the folder above says nothing"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"cat\n", "names 1 class, but the shards have the label 1"), (b"cat\ndog\xff\n", "cannot be read")],
)
def test_names_of_classes_that_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    shard(tmp_path / "x/0.tar", samples(8))
    (tmp_path / "x/classes.txt").write_bytes(content)
    assert message in refusal(capsys, tmp_path / "x", tmp_path / "out")


def test_every_file_of_a_shard_is_accounted_for(tmp_path: Path) -> None:
    odd = [{"1.jpg": jpeg(50), "2.jpg": jpeg(51)}, {"jpg": jpeg(52), "png": jpeg(53), "cls": b"0"}]
    odd += [{"jpg": jpeg(54), "seg.png": jpeg(55), "txt": b"a photo", "cls": b"1"}]
    dataset = convert(shard(tmp_path / "x.tar", [*samples(8), *odd]), tmp_path / "out")
    assert dataset.count == 10
    assert left_out(dataset).keys() == {"x.tar/000008.1.jpg", "x.tar/000008.2.jpg", "x.tar/000009.png"}
    ignored = json.loads((dataset.root / "doctor.json").read_text())["ignored"]
    assert {entry["example"] for entry in ignored} == {"x.tar/000010.seg.png", "x.tar/000010.txt"}


def test_further_fields_are_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"label": i % 2, "age": 20 + i, "place": f"p{i % 2}", "note": "x", **({"rare": 1} if i else {})}
        for i in range(8)
    ]
    rows[3]["note"] = None
    path = shard(tmp_path / "x.tar", [{"jpg": jpeg(i), "json": json.dumps(r).encode()} for i, r in enumerate(rows)])
    dataset = convert(path, tmp_path / "out")
    assert list(dataset.columns) == ["age", "place", "note"]
    assert dataset.column("note").tolist() == ["x"] * 3 + [""] + ["x"] * 4
    assert "columns that not all images have are not kept: 'rare' (7 images)" in capsys.readouterr().out
    assert [int(age) for age in dataset.column("age")] == list(range(20, 28))
    by_place = convert(path, tmp_path / "by-place", "--label-column", "place")
    assert [info.words for info in by_place.classes] == ["p0", "p1"]


def test_a_column_of_long_texts_is_left_out_where_it_takes_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("feedline.convert.builder.MOST_TEXT", 4 * 8 * 60)
    rows = [{"label": i % 2, "short": "x" * 60, "long": "x" * (61 if i == 5 else 1), "n": i} for i in range(8)]
    path = shard(tmp_path / "x.tar", [{"jpg": jpeg(i), "json": json.dumps(r).encode()} for i, r in enumerate(rows)])
    dataset = convert(path, tmp_path / "out")
    assert list(dataset.columns) == ["short", "n"]
    assert dataset.column("n").tolist() == list(range(8))
    assert "the column 'long' is not kept: its longest text has 61 characters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0.5, "the label 0.5 is a fraction"),
        ([1, 2], "the label [1, 2] is a list"),
        (True, "the label true is a truth value"),
    ],
)
def test_labels_that_are_no_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], value: object, message: str
) -> None:
    path = shard(
        tmp_path / "x.tar", [{"jpg": jpeg(i), "json": json.dumps({"label": value}).encode()} for i in range(8)]
    )
    line = refusal(capsys, path, tmp_path / "out")
    assert f"no image has a label that is a whole number or a text: {message}" in line


def test_a_field_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shard(tmp_path / "x.tar", [{"jpg": jpeg(i), "json": b'{"label": 1, "age": 2}'} for i in range(8)])
    line = refusal(capsys, path, tmp_path / "out", "--label-column", "nope")
    assert "no field 'nope' in its JSON, which has 'label', 'age'" in line


def test_one_class_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = shard(tmp_path / "x.tar", [{"jpg": jpeg(i), "cls": b"cat"} for i in range(8)])
    assert "one class only, 'cat' (8 images); telling apart takes two" in refusal(capsys, path, tmp_path / "out")


def test_images_without_a_label_are_listed(tmp_path: Path) -> None:
    path = shard(tmp_path / "x.tar", [*samples(8), {"jpg": jpeg(50)}, {"jpg": jpeg(51), "cls": b"-1"}])
    assert left_out(convert(path, tmp_path / "out")) == {
        "x.tar/000008.jpg": "no label beside it (.cls, or .json with a label)",
        "x.tar/000009.jpg": "the label -1 is no class",
    }


def test_a_tar_of_folders_with_annotations_is_no_shard(source: Path, tmp_path: Path) -> None:
    """As drawing programs save them: a JSON beside each image, without a class."""
    for path in list(source.rglob("*.jpg")):
        path.with_suffix(".json").write_text('{"shapes": [], "imageWidth": 20}')
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(source, "x")
    dataset = convert(tmp_path / "x.tar", tmp_path / "out", "--val-fraction", "0.5")
    assert [c.folder for c in dataset.classes] == ["a", "b"]


def test_tars_that_are_no_shards(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        with tarfile.open(tmp_path / f"{folder}.tar", "w") as archive:
            archive.add(source / folder, folder)
    line = refusal(capsys, f"{tmp_path}/?.tar", tmp_path / "out")
    assert "its tars hold no images with labels of the same key" in line
    (tmp_path / "c.tar").write_bytes(b"x")
    assert "c.tar: not a readable tar" in refusal(capsys, f"{tmp_path}/?.tar", tmp_path / "out")


def test_a_shard_more_is_another_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard(tmp_path / "x-0.tar", samples(8))
    shard(tmp_path / "x-1.tar", samples(8, 10))
    convert(f"{tmp_path}/x-{{0,1}}.tar", tmp_path / "out")
    convert(f"{tmp_path}/x-*.tar", tmp_path / "out")
    assert "complete already" in capsys.readouterr().out
    shard(tmp_path / "x-2.tar", samples(8, 20))
    assert "1 file more, 0 fewer, 0 changed" in refusal(capsys, f"{tmp_path}/x-*.tar", tmp_path / "out")


def test_shards_that_are_cut_between_two_samples_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        path = shard(tmp_path / f"s-{number}.tar", samples(6, 10 * number))
        with tarfile.open(path) as archive:
            end = archive.getmembers()[8].offset
        with path.open("r+b") as file:
            file.truncate(end)
    dataset = convert(f"{tmp_path}/s-*.tar", tmp_path / "out", "--packs", "none")
    assert dataset.count == 12
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("s-0.tar: ends without the mark of a tar's end, so it may be cut off")
    assert lines[1] == "and 2 more shards that end so"


def test_shards_that_are_links_keep_their_names(tmp_path: Path) -> None:
    """As Hugging Face keeps what it downloads: links with names to files without."""
    folder = tmp_path / "snapshots/abc"
    folder.mkdir(parents=True)
    for seed, part in enumerate(("train", "val")):
        path = shard(tmp_path / f"blobs/{seed}9bd1e0", samples(6, 10 * seed))
        (folder / f"{part}-000.tar").symlink_to(path)
    (folder / "classnames.txt").write_text("cat\ndog\n")
    for number, source in enumerate((str(folder), f"{folder}/*.tar")):
        dataset = convert(source, tmp_path / f"out{number}")
        assert dataset.splits["official"] == {"train": 6, "val": 6}
        assert [info.words for info in dataset.classes] == ["cat", "dog"]


def test_shards_that_change(tmp_path: Path) -> None:
    """They are read as they are now; while they are read they may not change."""
    for seed in (0, 20):
        count = 6 + seed // 10
        shard(tmp_path / "0.tar", samples(count, seed))
        assert convert(f"{tmp_path}/*.tar", tmp_path / f"out{seed}").count == count
    rows = [{"jpg": jpeg(i), "json": b'{"label": 1}'} for i in range(2)]
    tree = TarTree(shard(tmp_path / "x", rows))
    assert webdataset.matches(tree)
    shard(tmp_path / "x", rows * 2)
    with pytest.raises(InputError, match="was changed while it was read"):
        webdataset.matches(tree)


@pytest.mark.parametrize("folder", ["", "data/"])
def test_the_file_of_class_names_is_told_from_other_files(tmp_path: Path, folder: str) -> None:
    for seed, part in enumerate(("train", "val")):
        shard(tmp_path / f"in/{folder}{part}-0.tar", samples(6, 10 * seed))
    (tmp_path / f"in/{folder}classnames.txt").write_text("cat\ndog\n")
    dataset = convert(tmp_path / "in", tmp_path / "out")
    ignored = json.loads((dataset.root / "doctor.json").read_text())["ignored"]
    assert [(entry["example"], entry["reason"]) for entry in ignored] == [(f"{folder}classnames.txt", "a label file")]
