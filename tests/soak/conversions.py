"""Kills the converter at random moments and checks the result."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


def run(source: Path, folder: Path, *, kills: int, seed: int = 0) -> dict[str, Any]:
    """Kills builds of new folders, and builds that replace a folder (`--force`).

    Args:
        source: the images.
        folder: working folder.
        kills: number of builds to kill.
        seed: seed of the times and signals.

    Returns:
        The counts.

    Raises:
        AssertionError: if a folder is neither absent nor complete, a process survives, or the next build differs.
    """
    out, rng, started = folder / "data", random.Random(seed), time.monotonic()
    _build(source, folder / "whole").wait()
    expected, duration = _digests(folder / "whole"), time.monotonic() - started
    counts: Counter[str] = Counter()
    while counts["kills"] < kills:
        if rng.random() < 0.5:
            shutil.rmtree(out, ignore_errors=True)
        existed = out.exists()
        process = _build(source, out, *(["--force"] if existed else []))
        try:
            process.wait(rng.uniform(0, 1.1 * duration))
        except subprocess.TimeoutExpired:
            sent = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            process.send_signal(sent)
            process.wait(300)
            counts.update(["kills", sent.name, "with --force" if existed else "of nothing"])
        _check_all_ended(process.pid)
        counts["absent afterwards" if not out.exists() else "whole afterwards"] += 1
        if existed:
            assert _digests_after_build(source, out) == expected, "the old folder was lost"
        elif out.exists():
            assert _digests(out) == expected
        if rng.random() < 0.3:
            assert _digests_after_build(source, out) == expected
    assert _digests_after_build(source, out) == expected
    assert sorted(p.name for p in folder.iterdir()) == ["data", "whole"]
    return {"kills": counts.pop("kills"), **counts, "seconds": time.monotonic() - started}


def _build(source: Path, out: Path, *flags: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "feedline.convert.build", "--source", str(source), "--out", str(out)]
    command += ["--workers", "2", *flags]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=quiet, stderr=quiet)


def _digests_after_build(source: Path, out: Path) -> dict[str, str]:
    """The digests of all files after a build that is not killed."""
    assert _build(source, out).wait() == 0
    return _digests(out)


def _digests(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def _check_all_ended(session: int) -> None:
    """Checks that no process of a session survives its converter."""
    deadline = time.monotonic() + 300
    while left := [p for p in psutil.pids() if _session(p) == session]:
        assert time.monotonic() < deadline, f"processes {left} are still running"
        time.sleep(0.05)


def _session(process: int) -> int:
    try:
        zombie = psutil.Process(process).status() == psutil.STATUS_ZOMBIE
        return 0 if zombie else os.getsid(process)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return 0
