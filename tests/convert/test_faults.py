"""Full disks, read-only targets, files that cannot be read or change, kills."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from feedline.convert import build, folder, images, space
from feedline.convert.sources import FolderTree, open_source
from feedline.pipeline import Dataset
from tests.conftest import convert
from tests.soak import conversions


def refused(capsys: pytest.CaptureFixture[str], source: Path, out: Path, *flags: str) -> str:
    assert build.main(["--source", str(source), "--out", str(out), "--workers", "1", *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def nothing_left(out: Path) -> bool:
    return not [p for p in out.parent.iterdir() if p.name.startswith(f".{out.name}")]


def small_file_system(options: str) -> list[str]:
    """A command that runs another one where /mnt is a file system of its own; for those who may."""
    mount = f'mount -t tmpfs -o {options} tmpfs /mnt && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount file systems")
    return command


CONVERT = """
import sys
from feedline.convert import build, space
if {blind}: space.require = lambda *_: None
sys.exit(build.main(["--source", sys.argv[1], "--out", "/mnt/out", "--workers", "2"]))
"""


@pytest.mark.parametrize(
    ("options", "blind", "message"),
    [
        ("size=1m", False, "/mnt/out: needs about 2.3 MiB and 1.0 MiB are free there; make room"),
        ("size=1m", True, "No space left on device; nothing was left behind"),
        ("ro", False, "Read-only file system; nothing was left behind"),
    ],
)
def test_a_target_that_cannot_take_it(tiny_source: Path, options: str, blind: bool, message: str) -> None:
    script = CONVERT.format(blind=blind)
    command = [*small_file_system(options), sys.executable, "-c", script, str(tiny_source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_the_room_needed_is_known_to_a_few_percent(tiny_source: Path, photos: Path, tmp_path: Path) -> None:
    for name, source, max_size in (("tiny", tiny_source, None), ("photos", photos, None), ("small", photos, 48)):
        listing = open_source(str(source), tmp_path)
        flags = [] if max_size is None else ["--max-size", str(max_size)]
        dataset = convert(source, tmp_path / name, *flags)
        raw, jpeg = dataset.packs["raw"]["bytes"], dataset.packs["jpeg"]["bytes"]
        without = space.needed(listing, [], max_size)
        assert space.needed(listing, ["raw"], max_size) - without == pytest.approx(raw, rel=0.05)
        if max_size is None:
            assert space.needed(listing, ["jpeg"], None) - without == jpeg
        files = sum(-(-p.stat().st_size // 4096) * 4096 for p in (dataset.root / "train").rglob("*.*"))
        assert without >= files


def test_no_room_is_said_before_anything_is_written(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = convert(tiny_source, tmp_path / "out", "--packs", "").fingerprint
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    monkeypatch.setattr(images, "run", None)
    line = refused(capsys, tiny_source, tmp_path / "out", "--force")
    assert "1.0 MiB are free there; make room, choose another --out" in line
    assert Dataset(tmp_path / "out").fingerprint == before
    assert nothing_left(tmp_path / "out")


def test_a_disk_that_fills_up_leaves_the_old_folder(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = convert(tiny_source, tmp_path / "out", "--packs", "").fingerprint

    def full(job: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.target / "x"))

    monkeypatch.setattr(images, "run", full)
    assert "No space left on device; nothing was left behind" in refused(
        capsys, tiny_source, tmp_path / "out", "--force"
    )
    assert Dataset(tmp_path / "out").fingerprint == before
    assert nothing_left(tmp_path / "out")


def test_a_source_file_that_cannot_be_read(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FolderTree.read

    def denied(self: FolderTree, name: str) -> bytes:
        if name.endswith("_3.JPEG"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return read(self, name)

    monkeypatch.setattr(FolderTree, "read", denied)
    line = refused(capsys, tiny_source, tmp_path / "out")
    assert "_3.JPEG: cannot be read (Permission denied); mend or remove it in the source" in line
    assert not (tmp_path / "out").exists()
    assert nothing_left(tmp_path / "out")


@pytest.mark.parametrize("change", ["longer", "gone"])
def test_a_source_that_changes_while_it_is_read(
    tiny_source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    source = Path(shutil.copytree(tiny_source, tmp_path / "source"))
    require = space.require

    def meanwhile(*args: Any) -> None:
        require(*args)
        one = sorted(source.rglob("train/*/images/*.JPEG"))[7]
        if change == "gone":
            one.unlink()
        else:
            one.write_bytes(one.read_bytes() + b"more")

    monkeypatch.setattr(space, "require", meanwhile)
    message = {"longer": "was changed while it was read", "gone": "cannot be read (No such file or directory)"}[change]
    assert message in refused(capsys, source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_zip_that_changes_while_it_is_read(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "tiny"), "zip", tiny_source))
    require = space.require

    def meanwhile(*args: Any) -> None:
        require(*args)
        os.utime(archive, (1, 1))

    monkeypatch.setattr(space, "require", meanwhile)
    assert "tiny.zip: was changed while it was read" in refused(capsys, archive, tmp_path / "out")


def test_a_folder_moved_aside_by_a_killed_build_comes_back(tiny_source: Path, tmp_path: Path) -> None:
    dataset = convert(tiny_source, tmp_path / "out", "--packs", "")
    dataset.root.rename(tmp_path / ".out.building-x-old")
    (tmp_path / ".out.building-x").mkdir()
    folder.clear_up(tmp_path / "out")
    assert Dataset(tmp_path / "out").fingerprint == dataset.fingerprint
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_two_builds_of_one_folder_do_not_meet(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "PATIENCE", 0.1)
    busy = tmp_path / ".out.building-other"
    busy.mkdir()
    other = os.open(busy, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    try:
        assert "another build of it is under way" in refused(capsys, tiny_source, tmp_path / "out")
        assert busy.exists()
    finally:
        os.close(other)
    convert(tiny_source, tmp_path / "out", "--packs", "")
    assert not busy.exists()


def die(_: object) -> None:
    os._exit(9)


def test_a_worker_that_is_killed_is_said(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "run", die)
    argv = ["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--workers", "2"]
    assert build.main(argv) == 2
    assert "a worker process was killed from outside" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_killed_builds(tiny_source: Path, tmp_path: Path) -> None:
    """The long version: python -m tests.soak conversions --kills 40."""
    counts = conversions.run(tiny_source, tmp_path, kills=4, seed=1)
    assert counts["kills"] >= 4
