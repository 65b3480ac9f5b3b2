"""The doctor lists unusual images."""

import json
import os
from pathlib import Path

import pytest

from feedline.convert import from_dataset
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal, save_noise


def test_the_doctor_lists_every_finding(unusual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = convert(unusual, tmp_path / "out")
    report = json.loads((dataset.root / "doctor.json").read_text())
    reasons = {entry["path"]: entry["reason"] for entry in report["left_out"]}
    assert sorted(reasons) == ["train/a/cut.jpg", "train/a/text.jpg", "train/b/empty.png", "train/stray.png"]
    assert reasons["train/stray.png"] == "not in a class folder"
    assert all(reason.startswith("does not decode") for path, reason in reasons.items() if "stray" not in path)
    assert report["gray"] == ["train/a/gray.jpg"]
    assert [(d["paths"], d["labels"], d["crosses"]) for d in report["duplicates"]] == [
        (["train/a/1.png", "train/b/same_as_a1.png"], [0, 1], []),
        (["train/b/2.png", "val/b/same_as_b2.png"], [1, 1], ["official"]),
    ]
    assert dataset.meta["findings"] == {
        "left_out": 4,
        "gray": 1,
        "duplicate_groups": 2,
        "conflicting_groups": 1,
        "crossing_groups": {"official": 1},
        "ignored": 1,
    }
    ignored = [{"reason": "not an image", "suffix": ".txt", "files": 1, "example": "train/a/notes.txt"}]
    assert report["ignored"] == ignored
    assert dataset.count == 27
    assert not (dataset.root / "train/a/cut.jpg").exists()
    out = capsys.readouterr().out
    assert "train/a/cut.jpg: does not decode" in out
    assert "ignored        1 file: 1 .txt (not an image)" in out
    assert "2 groups of identical images, 1 with different labels, 1 across official" in out


def test_strict_stops_at_an_image_that_does_not_decode(
    unusual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refusal(capsys, unusual, tmp_path / "out", "--strict")
    assert "train/stray.png: not in a class folder (--strict)" in line
    (unusual / "train/stray.png").unlink()
    line = refusal(capsys, unusual, tmp_path / "out", "--strict")
    assert "train/a/cut.jpg: does not decode" in line
    assert "convert without --strict to leave it out" in line
    assert not (tmp_path / "out").exists()


def test_strict_asks_the_same_of_a_dataset_that_is_there(
    unusual: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(unusual, tmp_path / "out")
    line = refusal(capsys, unusual, tmp_path / "out", "--strict")
    assert "out: was built without train/stray.png: not in a class folder" in line
    assert line.endswith("(--strict); correct the source, and add --force to build it again")
    convert(unusual, tmp_path / "out")
    (tmp_path / "out/doctor.json").unlink()  # which nothing else asks for
    convert(unusual, tmp_path / "out")


def test_images_that_are_whole_but_decoded_with_a_warning(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = source / "b/odd.jpg"
    path.write_bytes(jpeg(77).replace(b"JFIF\0\1\1", b"JFIF\0\0\0"))
    dataset = convert(source, tmp_path / "out")
    assert dataset.count == 9
    (warning,) = json.loads((dataset.root / "doctor.json").read_text())["warnings"]
    assert warning["path"] == "train/b/odd.jpg"
    assert warning["reason"]
    assert dataset.meta["findings"]["warnings"] == 1
    assert "warnings       1 decoded with a warning: train/b/odd.jpg: " in capsys.readouterr().out
    again = from_dataset([(path.read_bytes(), 0), *((jpeg(i), i % 2) for i in range(9))], tmp_path / "again")
    (warning,) = json.loads((again.root / "doctor.json").read_text())["warnings"]
    assert warning["path"] == "train/0/000000000.jpg"


def test_files_that_are_not_taken_are_counted_by_reason_and_suffix(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a/one.txt", "a/two.TXT", "b/three.txt", "b/none", "a/table.csv", "b/x\x1b[31m.xyz"):
        (source / name).write_text("text")
    dataset = convert(source, tmp_path / "out")
    report = json.loads((dataset.root / "doctor.json").read_text())
    counts = {(kind["suffix"], kind["files"]): kind["example"] for kind in report["ignored"]}
    assert counts == {
        (".txt", 3): "a/one.txt",
        (".csv", 1): "a/table.csv",
        ("", 1): "b/none",
        (".xyz", 1): "b/x\x1b[31m.xyz",
    }
    assert dataset.meta["findings"]["ignored"] == 6
    out = capsys.readouterr().out
    assert "ignored        6 files: 3 .txt (" in out
    assert "\x1b" not in out


def test_names_that_are_not_utf_8_are_listed(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (source / os.fsdecode(b"lies-mich-f\xfcr-alle.txt")).write_text("text")
    (source / os.fsdecode(b"a/\xfc.jpg")).symlink_to("nowhere")
    report = json.loads((convert(source, tmp_path / "out").root / "doctor.json").read_text())
    names = [entry["path"] for entry in report["left_out"]] + [kind["example"] for kind in report["ignored"]]
    assert [os.fsencode(name) for name in names] == [b"a/\xfc.jpg", b"lies-mich-f\xfcr-alle.txt"]
    assert "a/\\udcfc.jpg: a link to a missing file" in capsys.readouterr().out


def test_lines_of_the_table_have_100_characters(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(9):
        save_noise(source / f"a class with a name that is quite long, number {i}/1.png", i)
        (source / f"a/notes.suffix{i}").write_text("text")
    data = jpeg(5)
    for i in range(5):
        (source / f"b/{'copy ' * 20}{i}.jpg").write_bytes(data)
        (source / f"b/{'cut ' * 20}{i}.jpg").write_bytes(data[:300])
    monkeypatch.chdir(tmp_path)
    convert(source, Path("out"), "--group", "copy|cut")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 25
    of_path = ("dataset", "details")  # which the table does not cut
    assert max(len(line) for line in lines if not line.startswith(of_path)) <= 100
