"""A folder is complete or absent, however a build is killed."""

import contextlib
import fcntl
import os
from pathlib import Path

import pytest

from feedline import Dataset
from feedline.convert import atomic_folder
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
