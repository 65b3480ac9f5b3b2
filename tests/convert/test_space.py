"""Disks that are too small, full or read-only."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset
from feedline.convert import images
from feedline.convert.sources import open_source
from feedline.convert.space import bytes_needed
from tests.conftest import convert
from tests.convert.helpers import refusal


def small_file_system(options: str) -> list[str]:
    """A command prefix that mounts a small file system at /mnt. Skips the test where that is not allowed."""
    mount = f'mount -t tmpfs -o {options} tmpfs /mnt && exec "$@"'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this user may not mount file systems")
    return command


CONVERT = """
import sys
from feedline.convert import build, space
if {skip_check}: space.check_space = lambda *_: None
sys.exit(build.main(["--source", sys.argv[1], "--out", "/mnt/out", "--workers", "2"]))
"""


@pytest.mark.parametrize(
    ("options", "skip_check", "message"),
    [
        ("size=1m", False, "/mnt/out: needs about 2.3 MiB, and 1.0 MiB are free there; free some space"),
        ("size=1m", True, "No space left on device; nothing was left behind"),
        ("ro", False, "/mnt/out: no folder can be made there (Read-only file system); choose another --out"),
    ],
)
def test_a_target_that_cannot_be_written(tiny_source: Path, options: str, skip_check: bool, message: str) -> None:
    script = CONVERT.format(skip_check=skip_check)
    command = [*small_file_system(options), sys.executable, "-c", script, str(tiny_source)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr


def test_the_space_needed_is_known_to_a_few_percent(tiny_source: Path, photos: Path, tmp_path: Path) -> None:
    for name, source, max_size in (("tiny", tiny_source, None), ("photos", photos, None), ("small", photos, 48)):
        flags = [] if max_size is None else ["--max-size", str(max_size)]
        dataset = convert(source, tmp_path / name, *flags)
        raw, jpeg = dataset.packs["raw"]["bytes"], dataset.packs["jpeg"]["bytes"]
        with open_source(str(source), tmp_path, tmp_path / "out") as listing:
            without = bytes_needed(listing, [], max_size)
            assert bytes_needed(listing, ["raw"], max_size) - without == pytest.approx(raw, rel=0.05)
            if max_size is None:
                assert bytes_needed(listing, ["jpeg"], None) - without == jpeg
        files = sum(-(-p.stat().st_size // 4096) * 4096 for p in (dataset.root / "train").rglob("*.*"))
        assert without >= files


def test_a_lack_of_space_is_reported_before_anything_is_written(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = convert(tiny_source, tmp_path / "out", "--packs", "").fingerprint
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    monkeypatch.setattr(images, "convert_images", None)
    line = refusal(capsys, tiny_source, tmp_path / "out", "--force")
    assert "1.0 MiB are free there; free some space, choose another --out, or write less with --packs jpeg" in line
    assert Dataset(tmp_path / "out").fingerprint == before


def test_a_full_disk_keeps_the_old_folder(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = convert(tiny_source, tmp_path / "out", "--packs", "").fingerprint

    def full(job: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.target / "x"))

    monkeypatch.setattr(images, "convert_images", full)
    line = refusal(capsys, tiny_source, tmp_path / "out", "--force")
    assert "No space left on device; nothing was left behind" in line
    assert Dataset(tmp_path / "out").fingerprint == before
