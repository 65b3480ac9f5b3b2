"""Kills the converter at random moments and looks at what is there afterwards."""

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
    """Kills builds, first of nothing, then with `--force` of a folder that is there.

    Args:
        source: of images.
        folder: to work in.
        kills: how many.
        seed: of moments and signals.

    Returns:
        The counts.

    Raises:
        AssertionError: if a folder is neither absent nor whole, a process is left, or the next build differs.
    """
    out, dice, begun = folder / "data", random.Random(seed), time.monotonic()
    whole = _build(source, folder / "whole")
    whole.wait()
    wanted, took = _digests(folder / "whole"), time.monotonic() - begun
    counts: Counter[str] = Counter()
    while counts["kills"] < kills:
        if dice.random() < 0.5:
            shutil.rmtree(out, ignore_errors=True)
        there = out.exists()
        process = _build(source, out, *(["--force"] if there else []))
        try:
            process.wait(dice.uniform(0, 1.1 * took))
        except subprocess.TimeoutExpired:
            how = dice.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
            process.send_signal(how)
            process.wait(300)
            counts.update(["kills", how.name, "with --force" if there else "of nothing"])
        _nobody_is_left(process.pid)
        counts["absent afterwards" if not out.exists() else "whole afterwards"] += 1
        if there:
            assert _afterwards(source, out) == wanted, "the folder that was there was lost"
        elif out.exists():
            assert _digests(out) == wanted
        if dice.random() < 0.3:
            assert _afterwards(source, out) == wanted
    assert _afterwards(source, out) == wanted
    assert sorted(p.name for p in folder.iterdir()) == ["data", "whole"]
    return {"kills": counts.pop("kills"), **counts, "seconds": time.monotonic() - begun}


def _build(source: Path, out: Path, *flags: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "feedline.convert.build", "--source", str(source), "--out", str(out)]
    command += ["--workers", "2", *flags]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=quiet, stderr=quiet)


def _afterwards(source: Path, out: Path) -> dict[str, str]:
    """What a build that nobody disturbs leaves."""
    assert _build(source, out).wait() == 0
    return _digests(out)


def _digests(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p.relative_to(folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def _nobody_is_left(session: int) -> None:
    """Workers end with the converter, however that ended."""
    deadline = time.monotonic() + 300
    while left := [p for p in psutil.pids() if _session(p) == session]:
        assert time.monotonic() < deadline, f"processes {left} are left"
        time.sleep(0.05)


def _session(process: int) -> int:
    try:
        zombie = psutil.Process(process).status() == psutil.STATUS_ZOMBIE
        return 0 if zombie else os.getsid(process)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return 0
