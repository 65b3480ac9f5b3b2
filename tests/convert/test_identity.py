"""A second run: whether the dataset at `out` is the one asked for."""

import json
import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.convert import build, sources
from feedline.convert.sample import draw_sample
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal, zipped
from tests.convert.server import serve


def images(folder: Path, seed: int = 0, side: int = 20) -> Path:
    """Two classes of four images each."""
    for i in range(8):
        path = folder / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(seed + i, (side, side)))
    return folder


def forget(dataset: Dataset) -> None:
    """Makes it a dataset of before sources were recorded."""
    meta = json.loads((dataset.root / "dataset.json").read_text())
    del meta["build"]["from"]
    (dataset.root / "dataset.json").write_text(json.dumps(meta))
    (dataset.root / "source.npy").unlink(missing_ok=True)


def again(source: Path | str, out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a second run that has nothing to do prints."""
    before = (out / "dataset.json").stat().st_mtime_ns
    capsys.readouterr()
    assert build.main(["--source", str(source), "--out", str(out), "--workers", "1"]) == 0
    assert (out / "dataset.json").stat().st_mtime_ns == before
    printed = capsys.readouterr().out
    assert "complete already" in printed
    return printed


def test_another_folder_of_the_same_name_is_another_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = images(tmp_path / "a/images"), images(tmp_path / "b/images", seed=100, side=24)
    convert(first, tmp_path / "out")
    line = refusal(capsys, second, tmp_path / "out")
    assert f"was built from another source than {second} (images: none of its files is the same)" in line
    assert "--force" in line
    convert(second, tmp_path / "out", "--force")
    assert again(second, tmp_path / "out", capsys)
    assert "another source" in refusal(capsys, first, tmp_path / "out")


def test_files_that_came_went_and_changed_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = images(tmp_path / "images")
    convert(source, tmp_path / "out")
    for i in range(5):
        (source / "a" / f"new{i}.jpg").write_bytes(jpeg(50 + i))
    line = refusal(capsys, source, tmp_path / "out")
    assert f"{source} has changed since it was built: 5 files more, 0 fewer, 0 changed; build it again with: " in line
    assert line.endswith(f"convert/build.py --source {source} --out {tmp_path / 'out'} --workers 1 --force")
    (source / "b/1.jpg").unlink()
    (source / "b/3.jpg").write_bytes(b"another")
    assert "5 files more, 1 fewer, 1 changed;" in refusal(capsys, source, tmp_path / "out")


def test_times_alone_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = images(tmp_path / "images")
    convert(source, tmp_path / "out")
    os.utime(source / "a/0.jpg", (1, 1))
    assert "0 files more, 0 fewer, 1 changed (in time, not in size);" in refusal(capsys, source, tmp_path / "out")


def test_a_folder_that_was_moved_is_the_same_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = images(tmp_path / "images")
    convert(source, tmp_path / "out")
    moved = source.rename(tmp_path / "elsewhere")
    (moved / "a/.DS_Store").write_bytes(b"what a file manager leaves")
    assert "not known" not in again(moved, tmp_path / "out", capsys)


def test_an_archive_is_known_by_its_content(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = zipped(images(tmp_path / "images"), tmp_path / "x.zip")
    convert(archive, tmp_path / "out")
    os.utime(archive, (1, 1))
    again(archive, tmp_path / "out", capsys)
    again(archive.rename(tmp_path / "renamed.zip"), tmp_path / "out", capsys)
    zipped(images(tmp_path / "others", seed=100), archive)
    assert f"{archive} has changed since it was built; build it again with" in refusal(
        capsys, archive, tmp_path / "out"
    )


def test_a_url_is_not_downloaded_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = zipped(images(tmp_path / "images"), tmp_path / "x.zip")
    with serve(archive.read_bytes()) as server:
        convert(server.url, tmp_path / "out")
        shutil.rmtree(tmp_path / "downloads")
        again(server.url, tmp_path / "out", capsys)
        assert len(server.asked) == 1
        line = refusal(capsys, server.url.replace("images.zip", "other/images.zip"), tmp_path / "out")
        assert f"another source than {server.url.replace('images.zip', 'other/images.zip')} ({server.url})" in line
        line = refusal(capsys, f"{server.url}#md5={'0' * 32}", tmp_path / "out")
        assert "was built from another source" in line
        assert len(server.asked) == 1
    again(archive, tmp_path / "out", capsys)  # the file itself: it has the download's checksum


def test_the_sample_is_known_by_its_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "draw_sample", partial(draw_sample, train=4, val=1))
    convert("sample", tmp_path / "out")
    again("sample", tmp_path / "out", capsys)
    monkeypatch.setattr("feedline.convert.identity.VERSION", 999)
    assert "another source than sample" in refusal(capsys, "sample", tmp_path / "out")


def test_a_dataset_of_before_is_taken_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = images(tmp_path / "images")
    forget(convert(source, tmp_path / "out"))
    (source / "a/new.jpg").write_bytes(jpeg(50))
    assert "whether they changed is not known" in again(source, tmp_path / "out", capsys)
    assert "was built from another source than" in refusal(capsys, images(tmp_path / "others"), tmp_path / "out")


def test_an_archive_of_before_has_its_checksum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = zipped(images(tmp_path / "images"), tmp_path / "x.zip")
    forget(convert(archive, tmp_path / "out"))
    assert "not known" not in again(archive, tmp_path / "out", capsys)
    zipped(images(tmp_path / "others", seed=100), archive)
    assert "has changed since it was built" in refusal(capsys, archive, tmp_path / "out")


def test_a_source_that_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = images(tmp_path / "images")
    convert(source, tmp_path / "out")
    shutil.rmtree(source)
    assert "the source is gone" in again(source, tmp_path / "out", capsys)
    assert "no such file or folder" in refusal(capsys, tmp_path / "imagse", tmp_path / "out")


LITTER = [
    "a/Thumbs.db",
    "a/thumbs.db",
    "b/ehthumbs.db",
    "Desktop.ini",
    "Icon\r",
    "__pycache__/x.pyc",
    "a/@eaDir/0.jpg/t.jpg",
]
LITTER += [
    "$RECYCLE.BIN/x.png",
    "#recycle/old.parquet",
    "#snapshot/x.jpg",
    "lost+found/x.tar",
    "@tmp/x.png",
    ".git/HEAD",
]


@pytest.mark.parametrize("name", LITTER)
def test_what_systems_leave_in_a_source_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    source = images(tmp_path / "images")
    convert(source, tmp_path / "out")
    (source / name).parent.mkdir(parents=True, exist_ok=True)
    (source / name).write_bytes(jpeg(99))
    again(source, tmp_path / "out", capsys)
    assert convert(source, tmp_path / "new").classes == Dataset(tmp_path / "out").classes


@pytest.mark.parametrize("damage", [b"", b"abc", b"PK\3\4"])
def test_a_damaged_table_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: bytes) -> None:
    source = images(tmp_path / "images")
    (convert(source, tmp_path / "out").root / "source.npy").write_bytes(damage)
    assert "source.npy is missing or damaged" in again(source, tmp_path / "out", capsys)


def test_a_dataset_inside_its_source_is_no_part_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = images(tmp_path / "s")
    first = convert(source, source / "out", "--strict")
    again(source, source / "out", capsys)
    second = convert(source, source / "out", "--strict", "--force")
    assert "out/ is a dataset that was built, and is not read" in capsys.readouterr().out
    assert (first.count, second.count) == (8, 8)
    report = json.loads((source / "out/doctor.json").read_text())
    assert report["left_out"] == []
    assert [entry["reason"] for entry in report["ignored"]] == ["a dataset that was built"]


@pytest.mark.parametrize("link", [False, True])
def test_a_source_inside_the_dataset_is_never_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], link: bool
) -> None:
    dataset = convert(images(tmp_path / "s"), tmp_path / "out")
    place = tmp_path / "link" if link else tmp_path / "out"
    if link:
        place.symlink_to(tmp_path / "out")
    line = refusal(capsys, tmp_path / "out/train", place, "--force")
    assert f"lies in {place}, which the dataset would replace; choose another --out" in line
    assert Dataset(tmp_path / "out").count == dataset.count == 8
