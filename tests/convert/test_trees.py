"""Folders and zips that are malicious, damaged, or changed while they are read."""

import errno
import json
import os
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.memory import resident_mib
from feedline import InputError
from feedline.convert import space, trees
from feedline.convert.trees.folder import FolderTree
from feedline.convert.trees.zip import ZipTree
from tests.conftest import convert
from tests.convert.helpers import jpeg, refusal, zipped


def test_links_are_followed_but_not_in_cycles(source: Path, tmp_path: Path) -> None:
    (source / "c").symlink_to(source / "a")
    (source / "a/back").symlink_to(source)
    (source / "b/nothing.jpg").symlink_to(source / "gone.jpg")
    dataset = convert(source, tmp_path / "out", "--val-fraction", "0.5")
    assert [c.folder for c in dataset.classes] == ["a", "b", "c"]
    assert dataset.count == 12


def test_a_file_that_cannot_be_read(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FolderTree.read

    def denied(self: FolderTree, name: str) -> bytes:
        if name.endswith("_3.JPEG"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return read(self, name)

    monkeypatch.setattr(FolderTree, "read", denied)
    line = refusal(capsys, tiny_source, tmp_path / "out")
    assert "_3.JPEG: cannot be read (Permission denied); repair or remove it in the source" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", ["longer", "gone"])
def test_a_folder_that_changes_while_it_is_read(
    tiny_source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    source = Path(shutil.copytree(tiny_source, tmp_path / "source"))
    check_space = space.check_space

    def meanwhile(*args: Any) -> None:
        check_space(*args)
        image = sorted(source.rglob("train/*/images/*.JPEG"))[7]
        if change == "gone":
            image.unlink()
        else:
            image.write_bytes(image.read_bytes() + b"more")

    monkeypatch.setattr(space, "check_space", meanwhile)
    message = {"longer": "was changed while it was read", "gone": "cannot be read (No such file or directory)"}[change]
    assert message in refusal(capsys, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda archive: os.utime(archive, (1, 1)), "was changed while it was read"),
        (Path.unlink, "No such file or directory; it must stay there until it is converted"),
    ],
)
def test_a_zip_that_changes_while_it_is_read(
    tiny_source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Any,
    message: str,
) -> None:
    archive = zipped(tiny_source, tmp_path / "tiny.zip")
    check_space = space.check_space

    def meanwhile(*args: Any) -> None:
        check_space(*args)
        change(archive)

    monkeypatch.setattr(space, "check_space", meanwhile)
    assert f"tiny.zip: {message}" in refusal(capsys, archive, tmp_path / "out")


def add_twice(archive: zipfile.ZipFile) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a/0.jpg", jpeg(99))


def add_link(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("a/link.jpg")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "/etc/passwd")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z: z.writestr("../../evil.jpg", b"x"), "contains the unsafe name '../../evil.jpg'"),
        (lambda z: z.writestr("a/../../evil.jpg", b"x"), "contains the unsafe name"),
        (lambda z: z.writestr("/tmp/evil.jpg", b"x"), "contains the unsafe name '/tmp/evil.jpg'"),
        (lambda z: z.writestr("a\\..\\..\\evil.jpg", b"x"), "contains the unsafe name"),
        (lambda z: z.writestr("C:/evil.jpg", b"x"), "contains the unsafe name"),
        (add_twice, "contains 'a/0.jpg' twice"),
        (lambda z: z.writestr("a//0.jpg", b"x"), "contains 'a/0.jpg' twice"),
        (lambda z: z.writestr("./a/./0.jpg", b"x"), "contains 'a/0.jpg' twice"),
        (lambda z: z.writestr("a\\0.jpg", b"x"), "contains 'a/0.jpg' twice"),
    ],
)
def test_unsafe_zips_are_refused(
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[zipfile.ZipFile], None],
    message: str,
) -> None:
    line = refusal(capsys, zipped(source, tmp_path / "x.zip", change), tmp_path / "out")
    assert message in line
    assert "do not trust this zip" in line
    assert not list(tmp_path.rglob("evil*"))


def test_two_spellings_of_one_letter_are_one_name(source: Path, tmp_path: Path) -> None:
    """As Macs and others write an accent: composed, or a letter and its accent."""
    composed, apart = "caf\u00e9", "cafe\u0301"
    archive = zipped(source, tmp_path / "x.zip", lambda z: z.writestr(f"{apart}/1.jpg", jpeg(1)))
    with zipfile.ZipFile(archive, "a") as change:
        change.writestr(f"{composed}/2.jpg", jpeg(2))
    tree = ZipTree(archive)
    assert [name for name in tree.contents.files if name.startswith("caf")] == [
        f"{composed}/1.jpg",
        f"{composed}/2.jpg",
    ]
    assert tree.read(f"{composed}/1.jpg") == jpeg(1)
    with zipfile.ZipFile(archive, "a") as change:
        change.writestr(f"{composed}/1.jpg", jpeg(3))
    with pytest.raises(InputError, match=re.escape("contains 'caf\u00e9/1.jpg' twice")):
        _ = ZipTree(archive).contents


def test_a_zip_with_backslashes_is_read(source: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(source.rglob("*.jpg")):
            entry = zipfile.ZipInfo("x")
            entry.filename = str(path.relative_to(source)).replace("/", "\\")
            archive.writestr(entry, path.read_bytes())
    dataset = convert(tmp_path / "x.zip", tmp_path / "out", "--val-fraction", "0.5")
    assert [c.folder for c in dataset.classes] == ["a", "b"]
    assert dataset.count == 8


def test_a_name_in_utf8_that_the_zip_does_not_declare(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("na\u00efve/1.jpg", b"x")
    data = bytearray((tmp_path / "x.zip").read_bytes())
    for flags in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[flags + 1] &= ~0x08
    (tmp_path / "x.zip").write_bytes(data)
    assert list(ZipTree(tmp_path / "x.zip").contents.files) == ["na\u00efve/1.jpg"]


def test_a_zip_bomb_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "ALWAYS_ALLOWED", 1 << 20)
    bomb = zipped(source, tmp_path / "x.zip", lambda z: z.writestr("a/bomb.bmp", b"\0" * (1 << 25)))
    before = resident_mib()
    line = refusal(capsys, bomb, tmp_path / "out")
    assert "would unpack from 0." in line
    assert "this is a bomb" in line
    assert resident_mib() - before < 50


def test_links_and_damaged_files_in_a_zip_are_listed(source: Path, tmp_path: Path) -> None:
    archive = zipped(source, tmp_path / "x.zip", add_link)
    data = bytearray(archive.read_bytes())
    start = data.index(jpeg(3)[200:230]) if jpeg(3)[200:230] in data else data.index(b"b/3.jpg") + 60
    data[start : start + 20] = b"\x55" * 20
    archive.write_bytes(data)
    dataset = convert(archive, tmp_path / "out", "--val-fraction", "0.5")
    left_out = {r["path"]: r["reason"] for r in json.loads((dataset.root / "doctor.json").read_text())["left_out"]}
    assert left_out["a/link.jpg"] == "a link"
    assert "damaged in the zip" in left_out["b/3.jpg"]
    assert len(left_out) == 2
    assert dataset.count == 7


@pytest.mark.parametrize("keep", [10, 500, 2000])
def test_a_truncated_zip(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: int) -> None:
    archive = zipped(source, tmp_path / "x.zip")
    archive.write_bytes(archive.read_bytes()[:keep])
    assert "not a readable zip" in refusal(capsys, archive, tmp_path / "out")


def test_a_file_that_only_starts_like_a_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK no zip")
    assert "not a readable zip" in refusal(capsys, tmp_path / "x.zip", tmp_path / "out")
