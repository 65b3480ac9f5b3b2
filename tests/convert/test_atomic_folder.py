"""A folder is complete or absent, however a build is killed."""

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.convert import atomic_folder, build, builder, doctor
from feedline.convert.flush import flush
from tests.conftest import convert
from tests.convert.helpers import refusal
from tests.soak import conversions


def test_a_folder_replaces_the_old_one_only_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    with contextlib.suppress(ZeroDivisionError), atomic_folder.atomic_folder(out) as folder:
        (folder / "new").touch()
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "old"]
    with atomic_folder.atomic_folder(out) as folder:
        (folder / "new").touch()
        assert (out / "old").exists()
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "new"]


def test_a_folder_that_the_disk_did_not_take_replaces_nothing(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = convert(tiny_source, tmp_path / "out", "--packs", "").fingerprint

    def flush(folder: int) -> None:
        assert (Path(f"/proc/self/fd/{folder}") / "dataset.json").exists()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(atomic_folder, "flush", flush)
    line = refusal(capsys, tiny_source, tmp_path / "out", "--packs", "jpeg", "--force")
    assert line.endswith("out: Input/output error; nothing was left behind")
    assert Dataset(tmp_path / "out").fingerprint == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_system_call_that_fails_is_an_error() -> None:
    with Path(os.devnull).open() as file:
        flush(file.fileno())
    with pytest.raises(OSError, match="Bad file descriptor"):
        flush(-1)


def test_a_folder_moved_away_by_a_killed_build_is_restored(tiny_source: Path, tmp_path: Path) -> None:
    dataset = convert(tiny_source, tmp_path / "out", "--packs", "")
    dataset.root.rename(tmp_path / ".out.building-x-old")
    (tmp_path / ".out.building-x").mkdir()
    atomic_folder.remove_leftovers(tmp_path / "out")
    assert Dataset(tmp_path / "out").fingerprint == dataset.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_second_build_of_the_same_folder_is_refused(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(atomic_folder, "LOCK_TIMEOUT", 0.1)
    busy = tmp_path / ".out.building-other"
    busy.mkdir()
    other = os.open(busy, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        line = refusal(capsys, source, tmp_path / "out", left=[busy.name])
        assert "another build of it is running (in .out.building-other); wait for it, or choose another --out" in line
    finally:
        os.close(other)
    convert(source, tmp_path / "out", "--packs", "")
    assert not busy.exists()


def test_killed_builds(tiny_source: Path, tmp_path: Path) -> None:
    """The long version: python -m tests.soak conversions --kills 40."""
    counts = conversions.run(tiny_source, tmp_path, kills=4, seed=1)
    assert counts["kills"] >= 4


def test_a_link_is_kept_and_the_folder_that_it_leads_to_is_replaced(tiny_source: Path, tmp_path: Path) -> None:
    disk, link = tmp_path / "disk", tmp_path / "data/tiny"
    for folder in (disk, link.parent):
        folder.mkdir()
    link.symlink_to(disk / "tiny")
    for packs in ("", "jpeg"):  # at first there is only the link
        dataset = convert(tiny_source, link, "--packs", packs, "--force")
        assert link.is_symlink()
        assert dataset.root == link
        assert list(Dataset(disk / "tiny").packs) == list(filter(None, [packs]))
    assert [p.name for p in (*disk.iterdir(), *link.parent.iterdir())] == ["tiny", "tiny"]


def test_links_that_lead_nowhere_are_refused(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "unmounted").symlink_to(tmp_path / "disk/tiny")
    line = refusal(capsys, tiny_source, tmp_path / "unmounted")
    assert f"is a link to {tmp_path}/disk/tiny, but there is no {tmp_path}/disk; make that folder" in line
    (tmp_path / "disk-link").symlink_to(tmp_path / "disk")
    line = refusal(capsys, tiny_source, tmp_path / "disk-link/a/tiny")
    assert f"/disk-link: is a link to {tmp_path}/disk, but there is no {tmp_path}/disk; make that folder" in line
    (tmp_path / "loop").symlink_to("loop")
    assert "is a link that leads to itself" in refusal(capsys, tiny_source, tmp_path / "loop")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk-link", "loop", "unmounted"]


def test_leftovers_of_folders_with_a_similar_name_are_left_alone(tmp_path: Path) -> None:
    others = [".data1.building-x", ".data.building-y.building-z", ".data[2].building-x"]
    for name in [*others, ".data[1].building-x", ".data.building-x"]:
        (tmp_path / name).mkdir()
    for name in ("data[1]", "data", "data?", "*"):
        atomic_folder.remove_leftovers(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("name", ["data/", "./data//", "x/../data", "*[?]", "data.building-x", "-o", "ü \n"])
def test_unusual_names_of_the_folder(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    for _ in range(2):
        assert build.main([f"--source={tiny_source}", f"--out={name}", "--packs=", "--workers=1", "--force"]) == 0
    assert Dataset(name).count == 128
    assert len(list(tmp_path.iterdir())) == 2


def test_an_empty_folder_is_filled(tiny_source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert convert(tiny_source, tmp_path / "out", "--packs", "").count == 128


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (".", "is the current folder, or holds it; go to another folder, or choose another --out"),
        ("..", "..: already exists and is not a dataset"),
        ("file", "file: already exists and is not a dataset; choose another --out"),
        ("file/", "file: already exists and is not a dataset; choose another --out"),
        ("file/below/it", "/file is a file, not a folder; choose another --out"),
        ("new/file/../../file/x", "/file is a file, not a folder; choose another --out"),
        ("/proc/x", "/proc/x: no folder can be made there (No such file or directory); choose another --out"),
        ("/proc/x/y/z", "no folder can be made there (No such file or directory); choose another --out"),
        ("/proc", "/proc: already exists and is not a dataset"),
        ("n" * 256, "File name too long"),
        ("", "--out: is empty; leave it out, or name a folder"),
    ],
)
def test_places_where_no_folder_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str, message: str
) -> None:
    """The source, which would be drawn for a second, is not looked at."""
    here = tmp_path / "here"
    (here / "empty").mkdir(parents=True)
    (here / "empty/../file").touch()
    monkeypatch.setattr(builder, "open_source", lambda *_: pytest.fail("the source was opened"))
    monkeypatch.chdir(here / "empty" if out.startswith(".") else here)
    assert build.main(["--source", "sample", "--out", out]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["empty", "file", "here"]


def test_folders_made_for_a_build_that_fails_are_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "images").mkdir()
    assert build.main(["--source", str(tmp_path / "images"), "--out", str(tmp_path / "there/a/b/c")]) == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["images", "there"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_build_that_is_told_to_end_leaves_nothing(
    tiny_source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        signal.raise_signal(number)

    monkeypatch.setattr(builder, "write_meta", interrupted)
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)]
    argv = ["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--packs", "", "--workers", "2"]
    assert build.main(argv) == 128 + number
    assert capsys.readouterr().err == "build.py: interrupted; nothing was left behind\n"
    assert not list(tmp_path.iterdir())
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)] == before


def test_a_second_signal_does_not_disturb_the_clearing_up(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def interrupted(*args: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        remove(*args, **options)

    monkeypatch.setattr(shutil, "rmtree", interrupted)
    monkeypatch.setattr(builder, "write_meta", lambda *_, **__: signal.raise_signal(signal.SIGHUP))
    argv = ["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--packs", "", "--workers", "1"]
    assert build.main(argv) == 128 + signal.SIGHUP
    assert not list(tmp_path.iterdir())


def test_a_hangup_that_is_ignored_ends_nothing(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As nohup does."""

    def hang_up(*_: Any) -> str:
        signal.raise_signal(signal.SIGHUP)
        return "fingerprint"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(builder, "fingerprint", hang_up)
        assert convert(tiny_source, tmp_path / "out", "--packs", "").fingerprint == "fingerprint"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_whose_exception_is_lost_ends_the_build_all_the_same(
    tiny_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Python loses what a handler raises in a callback, such as those of locks when a process is forked."""
    examine = doctor.examine

    def losing(*args: Any) -> Any:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        return examine(*args)

    monkeypatch.setattr(doctor, "examine", losing)
    assert build.main(["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--workers", "1"]) == 130
    assert capsys.readouterr().err == "build.py: interrupted; nothing was left behind\n"
    assert not list(tmp_path.iterdir())


def test_a_second_signal_ends_a_build_that_does_not_heed_the_first(tiny_source: Path, tmp_path: Path) -> None:
    program = f"""
import contextlib, signal
from feedline.convert import build, builder

def heedless(*args, **options):
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGHUP)

builder.write_meta = heedless
build.main(["--source", {str(tiny_source)!r}, "--out", {str(tmp_path / "new/out")!r}, "--packs", ""])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr.endswith("interrupted; nothing was left behind\n")
    assert not list(tmp_path.iterdir())
