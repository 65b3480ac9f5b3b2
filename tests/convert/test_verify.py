"""feedline verify: what changed in a dataset folder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from feedline import Dataset
from feedline.__main__ import main
from tests.conftest import convert
from tests.pipeline.dataset.folders import flip_bit, forget_checksums

IMAGE = 70


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset.root, tmp_path / "copy"))


def verified(capsys: pytest.CaptureFixture[str], root: Path, *flags: str) -> tuple[int, list[str]]:
    """The exit status of the command and the lines that it printed."""
    status = main(["verify", str(root), "--workers", "1", *flags])
    printed = capsys.readouterr()
    assert not printed.err or status == 2
    return status, (printed.out or printed.err).splitlines()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_that_is_as_it_was_built(dataset: Dataset, capsys: pytest.CaptureFixture[str], workers: str) -> None:
    status, lines = verified(capsys, dataset.root, "--workers", workers)
    assert (status, lines) == (0, [f"{dataset.root}: 128 images, jpeg and raw packs: all as it was built"])


def test_folders_of_other_kinds(varied: Dataset, photos: Path, tmp_path: Path) -> None:
    assert main(["verify", str(varied.root)]) == 0
    for flags in (["--packs", ""], ["--max-size", "48"]):
        out = convert(photos, tmp_path / "out", *flags, "--force").root
        assert main(["verify", str(out)]) == 0


def in_pack(kind: str, image: int) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        flip_bit(root / f"packs/{kind}/00000.bin", int(np.load(root / f"packs/{kind}/index.npy")["offset"][image]) + 9)

    return change


def in_file(name: str, position: int = -1) -> Callable[[Path], None]:
    return lambda root: flip_bit(root / name, position)


def removed(*names: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for name in names:
            (root / name).unlink()

    return change


def added(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).write_text("extra")

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda root: flip_bit(root / Dataset(root).path(IMAGE), 300), "PATH (image 70): changed"),
        (lambda root: (root / Dataset(root).path(IMAGE)).unlink(), "PATH (image 70): missing"),
        (in_pack("raw", IMAGE), "packs/raw, image 70 (PATH): changed"),
        (in_pack("jpeg", IMAGE), "packs/jpeg, image 70 (PATH): changed"),
        (in_file("index/labels.npy"), "index/labels.npy: changed"),
        (in_file("index/sizes.npy"), "index/sizes.npy: changed"),
        (removed("lists/official/train.txt"), "lists/official/train.txt: missing"),
        (in_file("lists/70-30/val.txt", 3), "lists/70-30/val.txt: changed"),
        (in_file("doctor.json", 4), "doctor.json: changed"),
        (in_file("packs/jpeg/checksums.npy"), "packs/jpeg/checksums.npy: changed"),
        (added("train/extra.JPEG"), "train/extra.JPEG: does not belong to the dataset"),
        (added("packs/raw/00001.bin"), "packs/raw/00001.bin: does not belong to the dataset"),
        (added("notes.txt"), "notes.txt: does not belong to the dataset"),
        (removed("index/paths.bin"), "index/paths.bin: missing"),
        (removed("packs/raw/00000.bin"), "packs/raw/00000.bin: missing"),
        (lambda root: (root / "packs/raw/index.npy").write_bytes(b""), "unusable: "),
        (lambda root: (root / "checksums.txt").write_text("x"), "checksums.txt: "),
        (removed("checksums.txt"), "checksums.txt: missing, so index and lists were not compared"),
        (removed("checksums.txt", "index/checksums.npy"), "checksums.txt: missing, so index and lists were not"),
    ],
)
def test_what_changed_is_named(
    copy: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Path], None], found: str
) -> None:
    path = Dataset(copy).path(IMAGE)
    change(copy)
    status, lines = verified(capsys, copy)
    wanted = found.replace("PATH", path)
    assert status == 1
    assert any(line.startswith(wanted) for line in lines[:-1]), lines
    assert lines[-1].endswith("; build the dataset again with --force")


def test_what_file_managers_leave_is_no_finding(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in (".DS_Store", "train/.DS_Store", "lists/Thumbs.db"):
        added(name)(copy)
    assert verified(capsys, copy)[0] == 0


def test_many_findings_are_counted(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (copy / "val").rglob("*.JPEG"):
        path.unlink()
    status, lines = verified(capsys, copy)
    assert (status, len(lines)) == (1, 22)
    assert lines[-2] == "... and 12 more (--all names them)"
    assert len(verified(capsys, copy, "--all")[1]) == 33


def test_a_pack_that_was_cut(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = copy / "packs/jpeg/00000.bin"
    data.write_bytes(data.read_bytes()[:-10])
    status, lines = verified(capsys, copy)
    assert (status, len(lines)) == (1, 2)
    assert lines[0].startswith("packs/jpeg, image 127 (")
    assert lines[0].endswith("lies outside the data")


def test_a_folder_that_was_built_before_there_were_checksums(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forget_checksums(copy)
    status, lines = verified(capsys, copy)
    assert (status, lines[0].split(":")[0]) == (0, "built without checksums")
    assert lines[1].endswith(": nothing wrong was found in what was compared")
    in_pack("raw", IMAGE)(copy)
    victim = copy / Dataset(copy).path(3)
    victim.write_bytes(victim.read_bytes()[:200])
    status, lines = verified(capsys, copy)
    assert status == 1
    assert f"{Dataset(copy).path(3)} (image 3): does not decode" in lines[0]
    assert lines[1].endswith(": has other pixels than the file")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["/nowhere"], "no dataset at /nowhere"),
        ([], "the following arguments are required: DIR"),
        (["/nowhere", "--workers", "0"], "--workers 0: must be at least 1"),
    ],
)
def test_what_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    try:
        status: object = main(["verify", *argv])
    except SystemExit as ended:
        status = ended.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert message in line
