"""What is no source: each kind gets a line that says what it is and what to do."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline import Dataset
from tests.convert.helpers import jpeg, refusal


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, images=np.zeros((2, 3)))
    return file.getvalue()


def gif() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "GIF")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.7z", b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive; unpack it (7z x), and give the folder"),
        ("x.zip", b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        ("x.rar", b"Rar!\x1a\x07\x01\0", "a RAR archive; unpack it"),
        ("x.tar.zst", b"\x28\xb5\x2f\xfd....", "compressed with zstd; unpack it (tar --zstd -xf)"),
        ("x.jpg", jpeg(), "one image; give the folder that holds the folders of the classes"),
        ("x", jpeg(), "one image"),
        ("x.gif", gif(), "one image"),
        ("x.heic", b"\0\0\0\x18ftypheic", "one image"),
        ("x.mp4", b"\0\0\0\x18ftypisom", "a video; save its frames as images"),
        ("x.csv", b"image,label\n1.jpg,cat\n", "a table; give the folder of the images as --source, and this file"),
        ("x.jsonl", b'{"file_name": "1.jpg"}\n', "a text file; give the folder of the images as --source"),
        ("x.h5", b"\x89HDF\r\n\x1a\n....", "an HDF5 file; read it in Python, and convert with feedline.from_dataset"),
        ("x.npz", npz(), "a NumPy archive; read it in Python"),
        ("x.mat", b"MATLAB 5.0 MAT-file", "a MATLAB file; read it in Python"),
        ("x.tfrecord-00000-of-00010", b"\x08\0\0\0\0\0\0\0....", "a TFRecord file; read it in Python"),
        ("x.zip", b"", "an empty file; download it again"),
        ("x.zip", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer, not the file"),
        ("x.zip", b"\n<!DOCTYPE html>\n<html>", "a web page or a server's message, not the file; open the address"),
        ("x.zip", b"<?xml version='1.0'?><Error><Code>AccessDenied", "a web page or a server's message"),
        ("x.zip", b"abc", "not a zip, whatever its name says; download it again"),
        ("x.tar.gz", gzip.compress(b"no tar", mtime=0), "not a readable tar; download it again"),
        ("x.zip.part", b"abc", "an incomplete download; finish it"),
        ("x.z01", b"abc", "one piece of an archive; join the pieces"),
        ("x.bin", b"abc", "no kind of file that is read; give a folder of images, a zip"),
    ],
)
def test_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    line = refusal(capsys, tmp_path / name, tmp_path / "out")
    assert line.startswith(f"build.py: --source {tmp_path / name}: {message}")


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.DS_Store").write_bytes(b"x")
    assert "an empty folder; give a folder of images" in refusal(capsys, tmp_path / "empty", tmp_path / "out")


def test_a_dataset_that_is_built_already(dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, dataset.root, tmp_path / "out")
    assert f"a dataset that is built already; train with it: python train.py --mode train --data {dataset.root}" in line


def test_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("run.json", "log.jsonl", "last.pt"):
        (tmp_path / "run" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_text("{}")
    assert "a run of training; give the images" in refusal(capsys, tmp_path / "run", tmp_path / "out")


def test_a_folder_around_an_archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/images.tar.gz").write_bytes(b"x")
    line = refusal(capsys, tmp_path / "photos", tmp_path / "out")
    assert line.endswith(f"holds images.tar.gz only; give {tmp_path / 'photos/images.tar.gz'}")
