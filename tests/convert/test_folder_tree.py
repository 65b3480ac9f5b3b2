"""Folders with things that are no files: links that lead nowhere or round in circles, pipes, what cannot be read."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from feedline.convert.sources import path_files
from tests.convert.helpers import refusal, zipped
from tests.convert.trees import counts, listed, refused, write

FILES = ["a/{0..3}.jpg", "b/{0..3}.jpg"]
EXPECTED = {"train": {"a": 4, "b": 4}}


def deny(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Folders of these names cannot be listed, also by root."""
    scandir = os.scandir

    def denied(path: Any) -> Any:
        if not isinstance(path, int) and Path(path).name in names:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)


def test_what_is_no_file_is_counted_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "s", FILES)
    (root / "a/gone.jpg").symlink_to("nowhere.jpg")
    (root / "gone").symlink_to("nowhere")
    (root / "b/self.jpg").symlink_to("self.jpg")
    (root / "c").symlink_to("c")
    (root / "a/.hidden.jpg").symlink_to("nowhere.jpg")
    for name in ("a/pipe.png", "labels.csv"):
        os.mkfifo(root / name)
    monkeypatch.chdir(root)  # the path of a socket is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("b/s.jpg")
    listing = listed(root)
    assert counts(listing) == EXPECTED
    assert dict(listing.left_out) == {
        "a/gone.jpg": "a link to a missing file",
        "a/pipe.png": "a pipe",
        "b/s.jpg": "a socket",
        "b/self.jpg": "a link that leads to itself",
    }
    assert dict(listing.ignored) == {
        "a/.hidden.jpg": "a link to a missing file",
        "c": "a link that leads to itself",
        "gone": "a link to a missing file",
        "labels.csv": "a pipe",
    }


def test_links_between_folders_end(tmp_path: Path) -> None:
    root = write(tmp_path / "s", FILES)
    (root / "a/up").symlink_to("..")
    (root / "a/here").symlink_to(".")
    listing = listed(root)
    assert counts(listing) == EXPECTED
    assert dict(listing.ignored) == dict.fromkeys(("a/up", "a/here"), "a link to a folder around it")
    (root / "a/x").symlink_to("../b")
    (root / "b/y").symlink_to("../a")
    listing = listed(root)
    assert counts(listing) == {"train": {"a": 8, "b": 8}}
    assert listing.left_out == []


def test_folders_that_all_link_to_each_other_end(tmp_path: Path) -> None:
    folders = [f"c{i}" for i in range(8)]
    root = write(tmp_path / "s", [f"{folder}/0.jpg" for folder in folders])
    for folder in folders:
        for other in folders:
            (root / folder / other).symlink_to(f"../{other}")
    reasons = {reason for _, reason in listed(root).ignored}
    assert reasons == {"a link to a folder around it", "a link within links"}


def test_a_hidden_folder_that_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as the lost+found of every disk, which root alone may read."""
    root = write(tmp_path / "s", [*FILES, ".cache/x", "lost+found/x", "a/.git/x/y", "a/.git/z"])
    deny(monkeypatch, ".cache", "lost+found", "x")
    listing = listed(root)
    assert counts(listing) == EXPECTED
    denied = "cannot be read (Permission denied)"
    assert dict(listing.ignored) == {
        ".cache": denied,
        "lost+found": denied,
        "a/.git/x": denied,
        "a/.git/z": "hidden",
    }


def test_another_folder_that_cannot_be_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write(tmp_path / "s", FILES)
    deny(monkeypatch, "b")
    assert f"{root / 'b'}: Permission denied; make it readable" in refusal(capsys, root, tmp_path / "out")


RESULTS = [
    ["run.json", "log.jsonl", "curves.png", "train_batch.png", "val_batch.png"],
    ["lr_range.json", "lr_range.png", "report.html"],
    ["eval.json", "per_class.csv", "predictions.csv", "confusion_matrix.png"],
    ["bench.json", "bench.png", "report.html"],
    ["peek.png", "peek.html"],
    ["probes.npz", "model.onnx", "README.md"],
    ["dataset.json", "doctor.json", "train/a/0.jpg"],
]


@pytest.mark.parametrize("folder", ["runs/x", "x", "a/x", "runs/new/x"])
@pytest.mark.parametrize("names", RESULTS, ids=lambda names: names[0])
def test_what_was_written_into_a_source_is_no_part_of_it(tmp_path: Path, names: list[str], folder: str) -> None:
    root = write(tmp_path / "s", FILES)
    before = path_files(str(root))
    write(root / folder, names)
    write(root / f"{folder}-2", names)
    listing = listed(root)
    assert counts(listing) == EXPECTED
    assert path_files(str(root)) == before
    kind = "a dataset that was built" if "dataset.json" in names else "the folder of a run"
    assert sorted(listing.ignored) == [(folder, kind), (f"{folder}-2", kind)]
    assert listing.left_out == []
    assert f"{folder}/ is {kind}, and is not read; nor are 1 more" in listing.notes


@pytest.mark.parametrize("names", [["run.json"], ["log.jsonl"], ["eval.json"], ["bench.json"], ["peek.png"]])
def test_one_of_its_names_makes_no_folder_of_a_run(tmp_path: Path, names: list[str]) -> None:
    root = write(tmp_path / "s", [*FILES, "c/0.jpg", *(f"c/{name}" for name in names)])
    assert counts(listed(root))["train"]["c"] >= 1


def test_a_folder_without_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.jpg").symlink_to("nowhere.jpg")
    assert "holds no files that can be read (a.jpg: a link to a missing file)" in refused(tmp_path / "s")


@pytest.mark.parametrize("names", RESULTS, ids=lambda names: names[0])
def test_nor_of_an_archive(tmp_path: Path, names: list[str]) -> None:
    root = write(tmp_path / "s", FILES)
    write(root / "runs/x", names)
    listing = listed(zipped(root, tmp_path / "s.zip"))
    assert counts(listing) == EXPECTED
    kind = "a dataset that was built" if "dataset.json" in names else "the folder of a run"
    assert {reason for _, reason in listing.ignored} == {kind}
