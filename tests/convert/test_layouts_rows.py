"""Tables whose rows and files do not fit one to one: rows that repeat, other spellings, no labels, no images."""

import json
import os
from pathlib import Path

import pytest

from feedline.convert.layouts import Wanted
from feedline.convert.layouts.finder import Finder
from feedline.convert.sources import open_source
from tests.convert.helpers import refusal
from tests.convert.test_layouts_tables import EXPECTED, ROWS, csv, folder
from tests.convert.trees import counts, listed, refused

READ = "labels: labels.csv, names in 'id', labels in 'breed'"
COMPOSED, APART = "caf\u00e9.jpg", "cafe\u0301.jpg"


def labels(root: Path, *rows: tuple[str, str], files: tuple[str, ...] = ()) -> Path:
    """Six images, a table that labels them, and further rows and files."""
    return folder(root, "labels.csv", csv([*ROWS, *rows], "id", "breed"), ["images/{0..5}.jpg", *files])


def test_many_images_of_one_name_are_not_compared_with_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr("feedline.convert.layouts.finder.spelled", looked_at.append)
    rows = [(f"/data/study{i}/left/image.png", "ab"[i % 2]) for i in range(100)]
    files = [f"images/study{i}/left/image.png" for i in range(100)]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "id", "breed"), files))
    assert counts(listing) == {"train": {"a": 50, "b": 50}}
    assert all(item.label == int(item.name.split("/")[1][5:]) % 2 for item in listing.items)
    assert len(looked_at) < 20 * 100


def test_rows_that_fit_no_folder_are_not_compared_with_every_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr("feedline.convert.layouts.finder.spelled", looked_at.append)
    finder = Finder([f"a/{i}/img.png" for i in range(100)])
    assert all(len(finder.find(f"/old/{i}x/img.png", "")) == 100 for i in range(100))
    assert finder.find("/old/7/IMG.png", "") == ["a/7/img.png"]
    assert len(looked_at) < 20 * 100


def test_a_header_that_a_file_is_named_like_is_no_row(tmp_path: Path) -> None:
    root = folder(tmp_path / "s", "labels.csv", csv(ROWS, "img1", "label2"), ["images/{0..5}.jpg", "images/img1.jpg"])
    assert set(counts(listed(root))["train"]) == set(EXPECTED["train"])


def test_a_row_that_repeats_another_counts_once_and_is_said(tmp_path: Path) -> None:
    listing = listed(labels(tmp_path / "s", ("0.jpg", "cat"), ("images/0.jpg", "cat"), ("1", "dog")))
    assert counts(listing) == EXPECTED
    assert listing.notes == [
        READ,
        "rows that repeat an image with its label, and do not count: 3, the first of images/0.jpg",
    ]
    assert listing.left_out == []


def test_one_number_written_in_two_ways_is_one_label(tmp_path: Path) -> None:
    rows = [("0.jpg", "1"), ("0.jpg", "1.0"), ("1.jpg", "2"), ("2.jpg", "1"), ("3.jpg", "2.0")]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "id", "breed"), ["{0..3}.jpg"]))
    assert counts(listing) == {"train": {"1": 2, "2": 2}}
    assert listing.left_out == []


def test_an_image_in_two_parts_is_left_out(tmp_path: Path) -> None:
    rows = [(*row, "val" if i > 3 else "train") for i, row in enumerate(ROWS)]
    listing = listed(
        folder(tmp_path / "s", "labels.csv", csv([*rows, ("0.jpg", "cat", "val")], "id", "breed", "split"))
    )
    assert listing.left_out == [("images/0.jpg", "several parts: train, val")]
    assert len(listing.items) == 5


def test_an_image_with_a_label_in_one_of_its_rows_is_taken(tmp_path: Path) -> None:
    listing = listed(labels(tmp_path / "s", ("0.jpg", ""), ("1.jpg", "nan")))
    assert counts(listing) == EXPECTED
    assert listing.left_out == []


@pytest.mark.parametrize("flags", [(), ("--labels", "labels.csv"), ("--label-column", "breed")])
def test_a_table_that_names_no_image_is_refused_with_an_example_of_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...]
) -> None:
    rows = [(f"img_{name[:-4]}.png", label) for name, label in ROWS]
    root = folder(tmp_path / "s", "labels.csv", csv(rows, "id", "breed"))
    line = refusal(capsys, root, tmp_path / "out", *flags)
    assert line == (
        f"build.py: labels.csv: names none of the images of {root}: its first row is 'img_0.png, cat', the first image "
        "is 'images/0.jpg'; correct the names, or choose a column with --image-column"
    )
    line = refusal(capsys, root, tmp_path / "out", "--image-column", "id")
    assert "the first row of column 'id' is 'img_0.png', the first image is 'images/0.jpg'; correct" in line


def test_metadata_that_names_no_image(tmp_path: Path) -> None:
    text = csv([(f"x{name}", label) for name, label in ROWS], "file_name", "label")
    assert "names none of the images" in refused(folder(tmp_path / "s", "metadata.csv", text))
    assert "has no rows below its column names" in refused(folder(tmp_path / "t", "metadata.csv", "file_name,label\n"))


def test_what_is_wrong_with_the_only_table_is_said_where_there_are_no_classes(tmp_path: Path) -> None:
    root = folder(tmp_path / "s", "labels.csv", csv([*ROWS, ("6.jpg", "cat", "brown")], "id", "breed"))
    assert "labels.csv: row 8 has 3 fields, the first row 2" in refused(root)
    root = folder(tmp_path / "t", "labels.csv", "width\n1\n2\n", ["cat/{0..3}.jpg", "dog/{0..3}.jpg"])
    assert counts(listed(root)) == {"train": {"cat": 4, "dog": 4}}


@pytest.mark.parametrize(("on_disk", "in_table"), [(COMPOSED, APART), (APART, COMPOSED), ("Big.JPG", "big.jpg")])
@pytest.mark.parametrize("above", ["", "images/"])
def test_names_in_another_case_or_with_other_accents_are_matched_and_said(
    tmp_path: Path, on_disk: str, in_table: str, above: str
) -> None:
    listing = listed(labels(tmp_path / "s", (above + in_table, "cat"), files=(f"images/{on_disk}",)))
    assert counts(listing) == {"train": {"cat": 4, "dog": 3}}
    assert listing.notes == [
        READ,
        f"names that differ from the file's in case or accents only, and are taken for it: 1, the first "
        f"{above + in_table!r} for images/{on_disk}",
    ]


@pytest.mark.parametrize(("one", "other"), [(COMPOSED, APART), ("Big.jpg", "big.jpg")])
def test_a_name_that_is_equal_goes_first(tmp_path: Path, one: str, other: str) -> None:
    root = labels(tmp_path / "s", (one, "cat"), (other, "dog"), files=(f"images/{one}", f"images/{other}"))
    if len(list((root / "images").iterdir())) < 8:
        pytest.skip("this file system takes both for one name")
    listing = listed(root)
    names = {item.name.rpartition("/")[2]: listing.classes[item.label].folder for item in listing.items}
    assert (names[one], names[other]) == ("cat", "dog")
    assert listing.notes == [READ]
    root = labels(tmp_path / "t", (one.upper(), "cat"), files=(f"images/{one}", f"images/{other}"))
    assert (one.upper(), "in labels.csv, 2 files have this name") in listed(root).left_out


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "N/A", "null", "<NA>"])
def test_an_image_without_a_label_is_left_out(tmp_path: Path, missing: str) -> None:
    rows = [(name, str(float(label == "dog"))) for name, label in ROWS[:4]]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv([*rows, ("4.jpg", missing)], "id", "breed")))
    assert counts(listing) == {"train": {"0": 2, "1": 2}}
    assert dict(listing.left_out) == {
        "images/4.jpg": f"no label in labels.csv{f' ({missing})' if missing else ''}",
        "images/5.jpg": "not in labels.csv",
    }
    every = folder(tmp_path / "t", "labels.csv", csv([(name, missing) for name, _ in ROWS], "id", "breed"))
    line = refused(every)
    assert line.startswith("labels.csv: gives no image a label: images/0.jpg: no label in labels.csv")
    assert "name another column with `label_column` (it has 'id', 'breed')" in line


def test_classes_that_may_be_none_or_one_class_in_two_spellings_are_said(tmp_path: Path) -> None:
    listing = listed(
        labels(tmp_path / "s", ("6.jpg", "None"), ("7.jpg", "Cat"), files=("images/6.jpg", "images/7.jpg"))
    )
    assert listing.notes[-2:] == [
        "the label 'None' is taken for a class; leave the field empty where there is no label",
        "labels that differ in case only are different classes: 'Cat' and 'cat'",
    ]
    rows = [(name, COMPOSED[:-4] if i % 2 else APART[:-4]) for i, (name, _) in enumerate(ROWS)]
    assert "6 images with 1 label" in refused(folder(tmp_path / "t", "labels.csv", csv(rows, "id", "breed")))


def test_a_pipe_that_never_ends_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = labels(tmp_path / "s")
    os.mkfifo(tmp_path / "pipe")
    for flag in ("--labels", "--classes-file"):
        line = refusal(capsys, root, tmp_path / "out", flag, str(tmp_path / "pipe"))
        assert line.startswith(f"build.py: {flag} {tmp_path / 'pipe'}: a pipe or a device, not a file; give ")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("l.json", b'[{"id": "0.jpg", "breed": "cat"}]', "l.json: JSON, but no table; write one object a line"),
        ("l.json", b'{"0.jpg": "cat"}', "l.json: JSON, but no table; write one object a line"),
        ("l.xlsx", b"PK\x03\x04" + bytes(99), "l.xlsx: a spreadsheet or an archive; save the table as CSV"),
        ("l.csv.gz", b"\x1f\x8b" + bytes(99), "l.csv.gz: compressed; unpack it"),
        ("l.csv", b'id,breed\n0.jpg,"cat\n1.jpg,dog\n', "l.csv: a quotation mark before row 3 is never closed"),
        ("l.csv", b'id,label\n0.jpg,"[1, 2]"\n1.jpg,[1]\n', "l.csv: the label '[1, 2]' is a list or an object"),
    ],
)
def test_what_is_no_table_is_told_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, data: bytes, message: str
) -> None:
    root = folder(tmp_path / "s", name, data)
    assert message in refusal(capsys, root, tmp_path / "out", "--labels", name)


@pytest.mark.parametrize("name", ["l.csv", "l.txt", "l.ndjson"])
def test_more_ways_to_write_a_table(tmp_path: Path, name: str) -> None:
    texts = {
        "l.csv": "id,breed\r" + "\r".join(f"{n},{label}" for n, label in ROWS),  # as old Macs end lines
        "l.txt": "\n".join(f"images/{n} {label}" for n, label in ROWS),  # a list of files
        "l.ndjson": "\n".join(json.dumps({"id": n, "breed": label}) for n, label in ROWS),
    }
    root = folder(tmp_path / "s", name, texts[name])
    with open_source(str(root), tmp_path, tmp_path / "out", wanted=Wanted(labels=name)) as listing:
        assert counts(listing) == EXPECTED


def test_captions_and_boxes_are_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for column, texts in {"text": [f"picture {i}" for i in range(6)], "objects": ['{"a": 1}'] * 6}.items():
        text = csv(
            [(n, f'"{t}"'.replace('{"a"', '{""a""')) for (n, _), t in zip(ROWS, texts, strict=True)],
            "file_name",
            column,
        )
        line = refused(folder(tmp_path / column, "metadata.csv", text))
        assert f"each image would be a class of its own in {column!r}, the only column that could hold labels" in line
    line = refusal(capsys, labels(tmp_path / "s"), tmp_path / "out", "--label-column", "id")
    assert "--label-column id: names the images in labels.csv; name the column of the labels" in line


def test_a_row_without_a_part_is_left_out(tmp_path: Path) -> None:
    rows = [(*row, ("train", "train", "val", "train", "", "extra")[i]) for i, row in enumerate(ROWS)]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "id", "breed", "split")))
    assert counts(listing) == {"train": {"cat": 1, "dog": 2}, "val": {"cat": 1}}
    assert dict(listing.left_out) == {
        "images/4.jpg": "no part in the column 'split' of labels.csv",
        "images/5.jpg": "no part in the column 'split' of labels.csv (extra)",
    }


def test_a_number_of_endless_digits_is_a_label(tmp_path: Path) -> None:
    rows = [(name, "9" * 5000 if label == "cat" else "1") for name, label in ROWS]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "id", "breed")))
    assert [len(info.words) for info in listing.classes] == [1, 5000]


def test_a_table_with_several_rows_for_each_image(tmp_path: Path) -> None:
    rows = [(name, label, str(i)) for name, label in ROWS for i in range(3)]
    assert counts(listed(folder(tmp_path / "s", "boxes.csv", csv(rows, "id", "label", "x")))) == EXPECTED


def test_names_that_several_files_have_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"{c}/{{0..5}}.jpg" for c in ("north", "south")]
    root = folder(tmp_path / "s", "labels.csv", csv(ROWS, "id", "breed"), files)
    assert refusal(capsys, root, tmp_path / "out", "--labels", "labels.csv").endswith(
        "labels.csv: gives no image a label: 0.jpg: in labels.csv, 2 files have this name; write their folders into "
        "the column 'id' too"
    )


def test_a_table_in_a_folder_of_submissions(tmp_path: Path) -> None:
    root = folder(tmp_path / "s", "submissions/labels.csv", csv(ROWS, "id", "breed"), ["submissions/{0..5}.jpg"])
    (root / "submissions/sample_submission.csv").write_text(csv(ROWS, "id", "class"))
    assert counts(listed(root)) == EXPECTED


@pytest.mark.parametrize("stem", ["{}", "img_{}", "abcdef"])
def test_a_table_without_a_line_of_names_and_without_suffixes(tmp_path: Path, stem: str) -> None:
    names = [stem.format(i) if "{" in stem else stem[i] for i in range(6)]
    rows = [(name, label) for name, (_, label) in zip(names, ROWS, strict=True)]
    files = [f"images/{name}.jpg" for name in [*names, "id", "1"]]
    root = folder(tmp_path / "s", "labels.csv", csv(rows[1:], *rows[0]), files)
    assert counts(listed(root)) == EXPECTED
    for first in (("id", "breed"), ("0", "1")):
        (root / "labels.csv").write_text(csv(rows, *first))
        assert counts(listed(root)) == EXPECTED
    one_hot = [(name, *("01" if label == "dog" else "10")) for name, label in rows]
    (root / "labels.csv").write_text(csv(one_hot, "id", "1", "2"))
    assert counts(listed(root)) == {"train": {"1": 3, "2": 3}}
