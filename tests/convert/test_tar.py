"""Tars, plain and compressed: read as a folder is; damaged and malicious ones are refused."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.convert import trees
from feedline.convert.sources import open_source
from feedline.convert.trees import compressed
from feedline.convert.trees.tar import TarTree
from tests.conftest import convert
from tests.convert.helpers import file_digests, jpeg, refusal


def tarred(
    folder: Path, target: Path, change: Callable[[tarfile.TarFile], None] | None = None, *, inside: str = "source"
) -> Path:
    """Puts a folder into a tar, compressed as the suffix says; `change` may add to it."""
    compressions = {".tar": "w", ".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}
    mode: Any = compressions[target.suffix]
    with tarfile.open(target, mode, format=tarfile.GNU_FORMAT) as archive:
        archive.add(folder, inside)
        if change is not None:
            change(archive)
    return target


def add(archive: tarfile.TarFile, name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, len(data) if kind == tarfile.REGTYPE else 0, "/etc/passwd"
    archive.addfile(entry, io.BytesIO(data))


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "tar.bz2", "tar.xz"])
def test_a_tar_gives_the_same_dataset_as_its_folder(
    tiny_source: Path, dataset: Dataset, tmp_path: Path, suffix: str, workers: str
) -> None:
    built = convert(
        tarred(tiny_source, tmp_path / f"tiny.{suffix}", inside="."), tmp_path / "out", "--workers", workers
    )
    assert file_digests(built) == file_digests(dataset)
    assert built.name == "tiny"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", f"tiny.{suffix}"], "what was unpacked is removed"


@pytest.mark.parametrize("start", ["", ".\\", "./"])
def test_folders_between_backslashes(tiny_source: Path, dataset: Dataset, tmp_path: Path, start: str) -> None:
    """As some programs on Windows write them."""
    with tarfile.open(tmp_path / "tiny.tar", "w") as archive:
        for path in sorted(tiny_source.rglob("*")):
            name = str(path.relative_to(tiny_source)).replace("/", "\\")
            archive.add(path, start + name, recursive=False)
    built = convert(tmp_path / "tiny.tar", tmp_path / "out")
    assert file_digests(built) == file_digests(dataset)


def test_one_backslash_between_folders(tiny_source: Path, dataset: Dataset, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "tiny.tar", "w") as archive:
        for path in sorted(tiny_source.rglob("*.*")):
            *folders, file = path.relative_to(tiny_source).parts
            archive.add(path, "/".join(["\\".join(folders), file]) if folders else file)
    assert file_digests(convert(tmp_path / "tiny.tar", tmp_path / "out")) == file_digests(dataset)


def test_links_and_whatever_is_no_file_are_listed(source: Path, tmp_path: Path) -> None:
    def change(archive: tarfile.TarFile) -> None:
        add(archive, "source/a/link.jpg", kind=tarfile.SYMTYPE)
        add(archive, "source/a/hard.jpg", kind=tarfile.LNKTYPE)
        add(archive, "source/a/pipe.jpg", kind=tarfile.FIFOTYPE)

    dataset = convert(tarred(source, tmp_path / "x.tar", change), tmp_path / "out", "--val-fraction", "0.5")
    left_out = {r["path"]: r["reason"] for r in json.loads((dataset.root / "doctor.json").read_text())["left_out"]}
    assert left_out == {
        "source/a/hard.jpg": "a link",
        "source/a/link.jpg": "a link",
        "source/a/pipe.jpg": "not a file",
    }
    assert dataset.count == 8


def test_the_last_entry_of_a_name_counts_as_when_it_is_unpacked(source: Path, tmp_path: Path) -> None:
    archive = tarred(source, tmp_path / "x.tar", lambda t: add(t, "./source/a//0.jpg", jpeg(99)))
    tree = TarTree(archive)
    assert tree.read("source/a/0.jpg") == jpeg(99)
    assert tree.contents.left_out == [("source/a/0.jpg", "replaced by a later entry of the same name")]
    assert len(tree.contents.files) == 8


@pytest.mark.parametrize(
    "name", ["../../evil.jpg", "a/../../evil.jpg", "/tmp/evil.jpg", "a\\..\\evil.jpg", "C:/evil.jpg"]
)
def test_unsafe_names_are_refused(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    line = refusal(capsys, tarred(source, tmp_path / "x.tar.gz", lambda t: add(t, name)), tmp_path / "out")
    assert f"contains the unsafe name {name!r}; do not trust this tar" in line
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_tar_that_is_cut_off_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, share: float
) -> None:
    path = tarred(source, tmp_path / f"x.{suffix}")
    size = len(path.read_bytes())
    if suffix == "tar":
        size = path.read_bytes().rindex(jpeg(7)[-20:])  # what follows is padding
    path.write_bytes(path.read_bytes()[: int(size * share)])
    line = refusal(capsys, path, tmp_path / "out")
    assert "download it again" in line
    assert str(path) in line


def test_a_damaged_header_does_not_hide_what_follows(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tarred(source, tmp_path / "x.tar")
    data = bytearray(path.read_bytes())
    start = data.index(b"source/b/3.jpg")
    data[start : start + 400] = b"\x55" * 400
    path.write_bytes(data)
    assert "not a readable tar (damaged at byte" in refusal(capsys, path, tmp_path / "out")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "ALWAYS_ALLOWED", 1 << 20)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        add(archive, "a/0.jpg", bytes(1 << 24))
    with pytest.raises(ValueError, match="this is a bomb"):
        compressed.unpack(tmp_path / "x.tar.gz", tmp_path / "x.tar")
    assert (tmp_path / "x.tar").stat().st_size < 1 << 23


def ends(path: Path) -> list[int]:
    """Where the entries of a tar begin."""
    with tarfile.open(path) as archive:
        return [entry.offset for entry in archive]


@pytest.mark.parametrize("entries", [1, 3, 0])
def test_a_tar_that_is_cut_between_two_entries_is_said(source: Path, tmp_path: Path, entries: int) -> None:
    """Some programs write no mark at the end: it may be whole, and is read."""
    path = tarred(source, tmp_path / "x.tar")
    begins = [start for start in ends(path) if start]
    with path.open("r+b") as file:
        file.truncate(begins[-entries] if entries else begins[-1] + 512 + 512 * -(-len(jpeg(7)) // 512))
    with open_source(str(path), tmp_path, tmp_path / "out") as listing:
        assert len(listing.items) == 8 - entries
        assert listing.notes[0] == (
            "x.tar: ends without the mark of a tar's end, so it may be cut off; compare its size with the original's"
        )


def test_tars_that_were_joined_are_said(source: Path, tmp_path: Path) -> None:
    path = tarred(source, tmp_path / "x.tar")
    with open_source(str(path), tmp_path, tmp_path / "out") as listing:
        assert listing.notes == []
    path.write_bytes(2 * path.read_bytes())
    with open_source(str(path), tmp_path, tmp_path / "out") as listing:
        assert listing.notes == [
            "x.tar: more follows the mark of the tar's end, and is not read; unpack tars that were joined"
        ]
