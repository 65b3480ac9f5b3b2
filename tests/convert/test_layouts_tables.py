"""Labels from tables: metadata as Hugging Face names it, and tables as Kaggle gives them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline.convert.layouts.tables import read_table
from tests.conftest import convert
from tests.convert.helpers import refusal, save_noise
from tests.convert.trees import counts, listed, refused, write

ROWS = [(f"{i}.jpg", "dog" if i % 2 else "cat") for i in range(6)]
EXPECTED = {"train": {"cat": 3, "dog": 3}}


def csv(rows: Sequence[tuple[str, ...]], *columns: str, delimiter: str = ",") -> str:
    return "\n".join(delimiter.join(row) for row in [columns, *rows]) + "\n"


def folder(root: Path, table: str, text: str | bytes, files: list[str] | None = None) -> Path:
    """A folder of images with a table."""
    write(root, files or ["images/{0..5}.jpg"])
    (root / table).parent.mkdir(parents=True, exist_ok=True)
    (root / table).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.mark.parametrize("images", ["", "images/", "train/", "a/b/"])
@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("labels.csv", ("id", "breed")),
        ("train.csv", ("image_id", "label")),
        ("some table.csv", ("Image", "Id")),
        ("data.tsv", ("file", "species")),
        ("metadata.csv", ("file_name", "label")),
    ],
)
@pytest.mark.parametrize("suffix", [True, False])
def test_a_table_beside_images_is_read_without_flags(
    tmp_path: Path, images: str, table: str, columns: tuple[str, str], suffix: bool
) -> None:
    rows = [(name if suffix else name[:-4], label) for name, label in ROWS]
    text = csv(rows, *columns, delimiter="\t" if table.endswith("tsv") else ",")
    listing = listed(folder(tmp_path / "s", table, text, [f"{images}{{0..5}}.jpg", "README.md"]))
    assert counts(listing) == EXPECTED
    assert listing.notes == [f"labels: {table}, names in {columns[0]!r}, labels in {columns[1]!r}"]
    assert dict(listing.ignored) == {table: "a label file", "README.md": "not an image"}
    assert {item.path for item in listing.items} == {f"train/{label}/{name}" for name, label in ROWS}


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfid;breed\r\n" + b"".join(f"{n};{label}\r\n".encode() for n, label in ROWS),
        b"sep=;\r\nid;breed\r\n" + b"".join(f"{n};{label}\r\n".encode() for n, label in ROWS),
        csv(ROWS, "id", "breed", delimiter="\t").encode("utf-16"),
        csv([(f"C:\\photos\\{n}", f' "{label}"') for n, label in ROWS], "id", "breed").replace(' "', '"').encode(),
        csv([("", str(i), *row) for i, row in enumerate(ROWS)], "", "Unnamed: 0", "id", "breed").encode(),
        csv([(f"./{n}", label, "", "") for n, label in ROWS], "id", "breed", "", "").encode(),
        csv([(f"/home/me/photos/{n}", label) for n, label in ROWS], "id", "breed").encode() + b"\n\n,\n",
        csv(ROWS[1:], *ROWS[0]).encode(),  # no line of names
    ],
)
def test_tables_as_spreadsheets_and_programs_write_them(tmp_path: Path, text: bytes) -> None:
    assert counts(listed(folder(tmp_path / "s", "labels.csv", text))) == EXPECTED


def test_accents_in_windows_own_encoding(tmp_path: Path) -> None:
    text = csv([(n, label.replace("cat", "gar\u00e7on")) for n, label in ROWS], "id", "breed").encode("cp1252")
    assert [info.words for info in listed(folder(tmp_path / "s", "labels.csv", text)).classes] == ["dog", "gar\u00e7on"]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_metadata_in_the_folders_of_parts_with_more_columns(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "s"
    for seed, (part, sub) in enumerate([("train", ""), ("train", "deep/"), ("validation", ""), ("test", "")]):
        rows = [
            {"file_name": f"{sub}{seed}{i}.png", "label": "ab"[i % 2], "patient": i, "note": None} for i in range(8)
        ]
        for i, row in enumerate(rows):
            save_noise(root / part / str(row["file_name"]), 100 * seed + i)
        with (root / part / f"metadata.{kind}").open("a") as file:
            if kind == "jsonl":
                file.writelines(json.dumps(row) + "\n" for row in rows)
            else:
                file.write("" if sub else "file_name,label,patient,note\n")
                file.writelines(f"{row['file_name']},{row['label']},{row['patient']},\n" for row in rows)
    dataset = convert(root, tmp_path / "out", "--packs", "")
    assert dataset.splits["official"] == {"train": 16, "val": 8, "test": 8}
    assert [info.words for info in dataset.classes] == ["a", "b"]
    patients = dataset.column("patient")
    assert patients.dtype == np.int64
    np.testing.assert_array_equal(patients % 2, dataset.labels)


def test_metadata_without_labels_adds_columns_to_class_folders(tmp_path: Path) -> None:
    rows = [(f"{c}/{i}.jpg", f"a {c} number {i}", str(i)) for c in ("cat", "dog") for i in range(3)]
    text = csv(rows[:-1], "file_name", "text", "scene")
    listing = listed(folder(tmp_path / "s", "metadata.csv", text, ["cat/{0..2}.jpg", "dog/{0..2}.jpg"]))
    assert counts(listing) == EXPECTED
    assert listing.notes == ["labels: the class folders; metadata.csv gives further columns"]
    assert [dict(item.columns) for item in listing.items] == [
        *({"text": text, "scene": scene} for _, text, scene in rows[:-1]),
        {"text": "", "scene": ""},
    ]


def test_metadata_of_test_needs_no_labels(tmp_path: Path) -> None:
    root = folder(tmp_path / "s", "train/metadata.csv", csv(ROWS, "file_name", "label"), ["train/{0..5}.jpg"])
    folder(root, "test/metadata.csv", csv([(f"{i}.jpg",) for i in range(3)], "file_name"), ["test/{0..2}.jpg"])
    listing = listed(root)
    assert counts(listing) == EXPECTED
    assert dict(listing.ignored)["test/0.jpg"] == "test images without a class"


@pytest.mark.parametrize("columns", [("file_name", "age", "age"), ("before", "after", "age")])
def test_metadata_that_cannot_be_read_does_not_hinder_class_folders(tmp_path: Path, columns: tuple[str, ...]) -> None:
    rows = [(f"cat/{i}.jpg", f"dog/{i}.jpg", str(i)) for i in range(3)]
    root = folder(tmp_path / "s", "metadata.csv", csv(rows, *columns), ["cat/{0..2}.jpg", "dog/{0..2}.jpg"])
    listing = listed(root)
    assert counts(listing) == EXPECTED
    assert listing.notes[0].startswith("labels: the class folders; not used: metadata.csv: ")
    flat = folder(tmp_path / "flat", "metadata.csv", csv(rows, *columns), ["{0..2}.jpg"])
    assert refused(flat).startswith("metadata.csv: ")


def test_whole_numbers_sort_as_numbers(tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", f"{i % 11}.0") for i in range(44)]
    listing = listed(folder(tmp_path / "s", "train.csv", csv(rows, "id", "diagnosis"), ["images/{0..43}.jpg"]))
    assert [info.words for info in listing.classes] == [str(i) for i in range(11)]
    assert [info.folder for info in listing.classes][-2:] == ["09", "10"]
    assert all(item.label == int(Path(item.name).stem) % 11 for item in listing.items)
    gaps = [(name, str(3 * int(float(label)))) for name, label in rows]
    listing = listed(folder(tmp_path / "t", "train.csv", csv(gaps, "id", "diagnosis"), ["images/{0..43}.jpg"]))
    assert [info.words for info in listing.classes][:3] == ["0", "3", "6"]
    assert "the labels are numbers with gaps: class '3' has label 1" in listing.notes


def test_one_column_per_class(tmp_path: Path) -> None:
    rows = [(f"{i}", "1.0" if i % 2 == 0 else "0.0", "1.0" if i % 2 else "0.0") for i in range(6)]
    listing = listed(folder(tmp_path / "s", "truth.csv", csv(rows, "image", "cat", "dog")))
    assert counts(listing) == EXPECTED
    assert "labels in 'cat', ... (one column per class)" in listing.notes[0]


def test_rows_and_files_that_do_not_fit_are_counted(tmp_path: Path) -> None:
    rows = [
        *ROWS,
        ("99.jpg", "cat"),
        ("twice", "cat"),
        ("7.jpg", ""),
        ("8.jpg", "cat"),
        ("8.jpg", "dog"),
        ("5.jpg", "dog"),
    ]
    files = ["images/{0..9}.jpg", "images/twice.jpg", "more/twice.jpg", "test/{0..3}.jpg"]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "id", "breed"), files))
    assert counts(listing) == EXPECTED
    assert dict(listing.left_out) == {
        "99.jpg": "in labels.csv, but there is no such file",
        "twice": "in labels.csv, 2 files have this name",
        "images/7.jpg": "no label in labels.csv",
        "images/8.jpg": "several labels: cat, dog",
        "images/6.jpg": "not in labels.csv",
        "images/9.jpg": "not in labels.csv",
        "images/twice.jpg": "not in labels.csv",
        "more/twice.jpg": "not in labels.csv",
    }
    assert dict(listing.ignored) == {
        "labels.csv": "a label file",
        **{f"test/{i}.jpg": "test images without a class" for i in range(4)},
    }


def test_files_of_one_name_in_several_folders(tmp_path: Path) -> None:
    rows = [(f"{d}/{i}.jpg", "ab"[i % 2]) for d in ("x", "y") for i in range(4)]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "path", "label"), ["x/{0..3}.jpg", "y/{0..3}.jpg"]))
    assert len({item.path for item in listing.items}) == 8
    assert {item.path for item in listing.items} == {f"train/{label}/{path}" for path, label in rows}


def test_tables_of_parts(tmp_path: Path) -> None:
    root = folder(tmp_path / "s", "train.csv", csv(ROWS, "image", "label"), ["images/{0..9}.jpg"])
    (root / "valid.csv").write_text("image,label\n6.jpg,cat\n7.jpg,dog\n")
    (root / "test.csv").write_text("image\n8.jpg\n9.jpg\n")
    (root / "sample_submission.csv").write_text("image,label\n8.jpg,cat\n9.jpg,cat\n")
    listing = listed(root)
    assert counts(listing) == {**EXPECTED, "val": {"cat": 1, "dog": 1}}
    assert listing.notes[1] == "parts: train (6), val (2)"


def test_a_column_of_parts(tmp_path: Path) -> None:
    rows = [(*row, "validation" if i > 3 else "Train") for i, row in enumerate(ROWS)]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "image", "label", "split")))
    assert counts(listing) == {"train": {"cat": 2, "dog": 2}, "val": {"cat": 1, "dog": 1}}
    assert listing.notes[1] == "parts: train (4), val (2) (column 'split')"


@pytest.mark.parametrize("where", ["inside", "path", "outside"])
def test_flags_name_the_table_and_its_columns(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"{i}", "old" if i < 6 else "new", str(i % 3), "ab"[i % 2]) for i in range(12)]
    root = tmp_path / "s"
    for i in range(12):
        save_noise(root / f"img/{i}.png", i)
    table = (tmp_path if where == "outside" else root) / "all.csv"
    table.write_text(csv(rows, "n", "era", "size", "kind"))
    assert "the label could be in 'era', 'size', 'kind'; choose with --label-column" in refusal(
        capsys, root, tmp_path / "out", "--labels", str(table)
    )
    flags = ["--labels", "all.csv" if where == "inside" else str(table), "--label-column", "kind", "--packs", ""]
    dataset = convert(root, tmp_path / "out", *flags)
    assert [info.words for info in dataset.classes] == ["a", "b"]
    assert dataset.column("size").tolist() == [i % 3 for i in sorted(range(12), key=lambda i: (i % 2, f"{i}.png"))]
    assert "was built with label_column kind, now era" in refusal(
        capsys, root, tmp_path / "out", *flags[:3], "era", "--packs", ""
    )
    if where == "outside":
        table.write_text(csv([row for row in rows if row[0] != "11"], "n", "era", "size", "kind"))
        assert "was built with labels" in refusal(capsys, root, tmp_path / "out", *flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--labels", "gone.xyz"), "--labels gone.xyz: no such file; give a CSV, TSV or JSON lines file"),
        (("--labels", "lables.csv"), "--labels lables.csv: no such file; did you mean labels.csv?"),
        (("--labels", "folder"), "--labels folder: no such file; did you mean folders?"),
        (("--labels", "{source}"), "--labels {source}: a folder; give a CSV, TSV or JSON lines file"),
        (
            ("--labels", "wrong.csv"),
            "wrong.csv: names none of the images of {source}: its first row is '1000, 2000', the first image is "
            "'images/0.jpg'; correct the names, or choose a column with --image-column",
        ),
        (
            ("--labels", "labels.csv", "--label-column", "z"),
            "--label-column z: no such column in labels.csv; it has 'i'",
        ),
        (
            ("--labels", "labels.csv", "--image-column", "z"),
            "--image-column z: no such column in labels.csv; it has 'i'",
        ),
        (("--label-column", "kk"), "--label-column kk: no such column in labels.csv; it has 'i', 'k'; did you mean k?"),
        (
            ("--labels", "folders", "--label-column", "k"),
            "--label-column k: no table is read here; leave it out, or give one with --labels",
        ),
        (("--labels", "empty.csv"), "empty.csv: has no rows"),
        (("--labels", "ragged.csv"), "ragged.csv: row 3 has 3 fields, the first row 2; put fields that contain ','"),
        (("--labels", "twice.csv"), "twice.csv: has two columns 'i'; rename one"),
        (("--labels", "only.csv"), "only.csv: has the column 'i' only, and no labels"),
        (("--labels", "one.csv"), "one.csv: 6 images with 1 label, 'cat'; training needs two classes"),
        (("--labels", "bad.jsonl"), "bad.jsonl: line 2 is not JSON"),
        (("--labels", ""), "--labels: is empty; leave it out, or name a file"),
        (("--labels", "folders"), "one class folder only, 'images' (6 images)"),
    ],
)
def test_what_is_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    root = folder(tmp_path / "s", "labels.csv", csv(ROWS, "i", "k"))
    texts = {
        "wrong.csv": "x,y\n1000,2000\n3000,2000\n",
        "empty.csv": "\n\n",
        "ragged.csv": "i,k\n0.jpg,cat\n1.jpg,dog,brown\n",
        "twice.csv": "i,i\n0.jpg,cat\n",
        "only.csv": csv([(n,) for n, _ in ROWS], "i"),
        "one.csv": csv([(n, "cat") for n, _ in ROWS], "i", "k"),
        "bad.jsonl": '{"file_name": "0.jpg", "label": 1}\n{file_name\n',
    }
    for name, text in texts.items():
        (root / name).write_text(text)
    assert message.replace("{source}", str(tmp_path / "s")) in refusal(
        capsys, root, tmp_path / "out", *(flag.replace("{source}", str(root)) for flag in flags)
    )


def test_two_tables_are_not_chosen_between(tmp_path: Path) -> None:
    root = folder(tmp_path / "s", "a.csv", csv(ROWS, "image", "label"))
    (root / "b.csv").write_text(csv([(n, "x" + label) for n, label in ROWS], "image", "label"))
    assert "several tables could hold labels: a.csv, b.csv; choose with `labels`" in refused(root)


def test_class_folders_win_over_a_table_and_it_is_said(tmp_path: Path) -> None:
    rows = [(f"{c}/{i}.jpg", str(100 + i % 2)) for c in ("cat", "dog") for i in range(4)]
    root = folder(tmp_path / "s", "sizes.csv", csv(rows, "path", "width"), ["cat/{0..3}.jpg", "dog/{0..3}.jpg"])
    listing = listed(root)
    assert counts(listing) == {"train": {"cat": 4, "dog": 4}}
    assert listing.notes == ["labels: the class folders; sizes.csv names images too, and is read with --labels"]


def test_a_table_of_labels_wins_over_folders_that_say_something_else(tmp_path: Path) -> None:
    rows = [(f"{d}/{i}.jpg", "ab"[i % 2]) for d in ("north", "south") for i in range(4)]
    files = ["north/{0..3}.jpg", "south/{0..3}.jpg"]
    listing = listed(folder(tmp_path / "s", "labels.csv", csv(rows, "path", "label"), files))
    assert counts(listing) == {"train": {"a": 4, "b": 4}}
    assert "labels: labels.csv" in listing.notes[0]
    same = [(path, "SN"[path.startswith("north")]) for path, _ in rows]
    listing = listed(folder(tmp_path / "t", "labels.csv", csv(same, "path", "label"), files))
    assert counts(listing) == {"train": {"north": 4, "south": 4}}


def test_folders_that_only_number_the_images_are_no_classes(tmp_path: Path) -> None:
    rows = [(str(i), f"dx{i % 3}") for i in range(12)]
    files = [f"ham_images_part_{i % 2 + 1}/{i}.jpg" for i in range(12)]
    listing = listed(folder(tmp_path / "s", "ham_metadata.csv", csv(rows, "image_id", "dx"), files))
    assert counts(listing) == {"train": {"dx0": 4, "dx1": 4, "dx2": 4}}
    more = [(*row, "mf"[i % 4 > 1]) for i, row in enumerate(rows)]
    line = refused(folder(tmp_path / "t", "ham_metadata.csv", csv(more, "image_id", "dx", "sex"), files))
    assert (
        "could be in 'dx', 'sex'; choose with `label_column`, or take the class folders with `labels=folders`" in line
    )


@pytest.mark.parametrize("label", ["a/b", "..", ".", "CON", "x" * 300, "a\\b", "\u202e", " "])
def test_labels_of_any_text_make_safe_folders(tmp_path: Path, label: str) -> None:
    rows: list[dict[str, Any]] = [{"file_name": f"{i}.jpg", "label": label if i % 2 else "z"} for i in range(6)]
    text = "\n".join(map(json.dumps, rows))
    root = folder(tmp_path / "s", "metadata.jsonl", text, ["{0..5}.jpg"])
    if not label.strip():
        assert "3 images with 1 label, 'z'" in refused(root)
        return
    listing = listed(root)
    assert len(listing.classes) == 2
    for item in listing.items:
        assert len(item.path.split("/")) == 3
        assert ".." not in item.path.split("/")


def test_json_lines_end_at_line_feeds_only() -> None:
    data = '{"file_name": "1.jpg", "label": "a\u2028b"}\r\n{"file_name": "2.jpg", "label": "c"}\n'
    assert read_table("x.jsonl", "", data.encode()).column("label") == ["a\u2028b", "c"]
