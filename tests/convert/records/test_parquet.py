"""Parquet files with Hugging Face's image column."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, InputError
from feedline.convert.sources import open_source
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal, save_noise


def test_without_pyarrow_the_line_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "x.parquet").write_bytes(b"PAR1....PAR1")
    line = refusal(capsys, tmp_path / "x.parquet", tmp_path / "out")
    assert line.endswith('Parquet is read with the package pyarrow; install it with: pip install "feedline[parquet]"')


def table(path: Path, images: Sequence[Any], labels: Sequence[Any], *, names: list[str] | None = None) -> Path:
    """A file as the package datasets writes it."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns: dict[str, Any] = {"image": pa.array(images, kind), "label": pa.array(labels)}
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": names}}
    content = pa.table(columns)
    if names is not None:
        content = content.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, row_group_size=5)
    return path


def images(count: int, seed: int = 0) -> list[dict[str, Any]]:
    return [{"bytes": jpeg(seed + i), "path": None} for i in range(count)]


def left_out(dataset: Dataset) -> dict[str, str]:
    return {r["path"]: r["reason"] for r in json.loads((dataset.root / "doctor.json").read_text())["left_out"]}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_of_parts(tmp_path: Path, workers: str) -> None:
    for seed, part in enumerate(("train", "validation", "test")):
        path = tmp_path / f"beans/data/{part}-00000-of-00001.parquet"
        table(path, images(12, 20 * seed), [1, 0] * 6, names=["healthy", "rust"])
    dataset = convert(tmp_path / "beans", tmp_path / "out", "--workers", workers)
    assert dataset.splits["official"] == {"train": 12, "val": 12, "test": 12}
    assert [c.words for c in dataset.classes] == ["healthy", "rust"]
    assert list(dataset.labels) == [1, 0] * 18
    for number in range(36):
        assert (dataset.root / dataset.path(number)).read_bytes() == jpeg(20 * (number // 12) + number % 12)


def test_one_file_without_metadata(tmp_path: Path) -> None:
    dataset = convert(table(tmp_path / "x.parquet", images(8), ["b", "a"] * 4), tmp_path / "out")
    assert dataset.name == "x"
    assert [c.words for c in dataset.classes] == ["a", "b"]
    assert list(dataset.labels) == [1, 0] * 4


def test_files_keep_their_suffix(tmp_path: Path) -> None:
    paths = (None, "photos/1.PNG")
    rows = [{"bytes": save_noise(tmp_path / "a.png", i), "path": paths[i % 2]} for i in range(8)]
    dataset = convert(table(tmp_path / "x.parquet", rows, [0, 1] * 4), tmp_path / "out")
    assert {Path(dataset.path(number)).suffix for number in range(8)} == {".png"}


def test_rows_without_image_or_label_are_listed(tmp_path: Path) -> None:
    rows = [*images(8), {"bytes": None, "path": "far/away.jpg"}, None, *images(2, 50)]
    path = table(tmp_path / "x.parquet", rows, [0, 1] * 4 + [0, 0, -1, None], names=["a", "b"])
    assert left_out(convert(path, tmp_path / "out")) == {
        "x.parquet[10]": "the label -1 is no class",
        "x.parquet[11]": "no label",
        "x.parquet[8]": "does not decode: there is only the path far/away.jpg",
        "x.parquet[9]": "does not decode: the row has no image",
    }


def test_a_file_that_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "x.parquet", images(8), [0, 1] * 4)
    path.write_bytes(path.read_bytes()[:2000])
    assert "cannot be read as Parquet" in refusal(capsys, path, tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([1.0, 2.0] * 4, ["1", "2"]),
        (["10", "9"] * 4, ["9", "10"]),
        ([" cat", "dog ", "cat", "dog"] * 2, ["cat", "dog"]),
        ([b"cat", b"dog"] * 4, ["cat", "dog"]),
        ([True, False] * 4, ["False", "True"]),
    ],
)
def test_labels_of_every_type_are_whole_numbers_or_texts(tmp_path: Path, labels: list[Any], classes: list[str]) -> None:
    dataset = convert(table(tmp_path / "x.parquet", images(8), labels), tmp_path / "out", "--packs", "none")
    assert [info.words for info in dataset.classes] == classes
    assert dataset.count == 8


def test_labels_that_are_none_are_left_out(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", images(12), [1.0, 2.0] * 4 + [1.5, float("nan"), None, 2.0])
    assert left_out(convert(path, tmp_path / "out")) == {
        "x.parquet[8]": "the label 1.5 is a fraction, not a whole number or a text",
        "x.parquet[9]": "no label",
        "x.parquet[10]": "no label",
    }
    path = table(tmp_path / "y.parquet", images(6), ["a", "b", "a", "b", "", "NaN"])
    assert set(left_out(convert(path, tmp_path / "other")).values()) == {"no label"}


def test_files_of_one_source_agree_on_what_labels_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "s/train-0.parquet", images(6), [0, 1] * 3)
    table(tmp_path / "s/train-1.parquet", images(6, 9), ["0", "1"] * 3)
    table(tmp_path / "s/train-2.parquet", images(6, 19), [0.0, 1.0] * 3)
    dataset = convert(tmp_path / "s", tmp_path / "out", "--packs", "none")
    assert ([info.words for info in dataset.classes], dataset.count) == (["0", "1"], 18)
    table(tmp_path / "s/train-1.parquet", images(6, 9), ["cat", "dog"] * 3)
    assert refusal(capsys, tmp_path / "s", tmp_path / "mixed") == (
        f"build.py: --source {tmp_path / 's'}: the column 'label' mixes numbers and texts (0 in train-0.parquet[0], "
        "'cat' in train-1.parquet[0]); write all labels in one way, or name another column with --label-column"
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--image-column", "nope"), "--image-column nope: no such column in x.parquet; it has 'image', 'label'"),
        (("--label-column", "lable"), "it has 'image', 'label'; did you mean label?"),
        (("--image-column", "label"), "x.parquet: the column 'label' holds int64, not images; name another with"),
        (("--label-column", "image"), "x.parquet: the column 'image' holds the images, not labels; name another with"),
    ],
)
def test_a_column_that_cannot_be_used_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], message: str
) -> None:
    path = table(tmp_path / "x.parquet", images(6), [0, 1] * 3)
    assert message in refusal(capsys, path, tmp_path / "out", *flags)


def test_no_row_has_a_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "x.parquet", images(3), [[0], [1], [0]])
    line = refusal(capsys, path, tmp_path / "out")
    assert "no row has a label in the column 'label': x.parquet[0]: the label [0] is a list, not" in line
    assert "name another column with --label-column (it has 'image', 'label')" in line


def test_one_file_of_several_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    whole, other = table(tmp_path / "s/0.parquet", images(6), [0, 1] * 3), tmp_path / "s/1.parquet"
    other.write_bytes(whole.read_bytes()[:900])
    assert f"{other}: cannot be read as Parquet" in refusal(capsys, tmp_path / "s", tmp_path / "out")
    pq.write_table(pa.table({"image": [jpeg()]}), other)
    assert f"{other}: has no column 'label' (it has 'image')" in refusal(capsys, tmp_path / "s", tmp_path / "out")


def test_columns_that_are_not_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"a": [1], "b": [2]}), tmp_path / "x.parquet")
    line = refusal(capsys, tmp_path / "x.parquet", tmp_path / "out")
    assert "has the columns a, b; name the one with the image with --image-column" in line


@pytest.mark.parametrize("pattern", ["../pq/*.parquet", "link/*.parquet", "link/../pq/*.parquet"])
def test_a_pattern_through_links_and_the_folder_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    for seed, part in enumerate(("train", "val")):
        table(tmp_path / f"pq/{part}.parquet", images(6, 10 * seed), [0, 1] * 3)
    (tmp_path / "here").mkdir()
    (tmp_path / "here/link").symlink_to(tmp_path / "pq")
    monkeypatch.chdir(tmp_path / "here")
    assert convert(pattern, tmp_path / "out").splits["official"] == {"train": 6, "val": 6}


def test_a_file_that_changes_is_read_again_and_one_that_is_read_may_not_change(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", images(8), [0, 1] * 4)
    for seed in (0, 20):
        table(path, images(8, seed), [0, 1] * 4)
        with open_source(str(path), tmp_path, tmp_path / "out") as listing:
            assert listing.tree.read("x.parquet[7]") == jpeg(seed + 7)
    table(path, images(9), [0, 1] * 4 + [0])
    with pytest.raises(InputError, match="was changed while it was read"):
        listing.tree.read("x.parquet[7]")


def test_images_of_a_damaged_page_are_left_out(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", images(15), [0, 1, 0, 1, 0] * 3)
    data = bytearray(path.read_bytes())
    start = pytest.importorskip("pyarrow.parquet").ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[start : start + 60] = bytes(60)
    path.write_bytes(data)
    dataset = convert(path, tmp_path / "out")
    assert dataset.count == 10
    reasons = left_out(dataset)
    assert list(reasons) == [f"x.parquet[{row}]" for row in range(5, 10)]
    assert reasons["x.parquet[5]"].startswith("does not decode: damaged in the Parquet file (")
