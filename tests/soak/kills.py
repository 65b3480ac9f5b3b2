"""Kills training at random moments, resumes it, and compares the result with a run that was not killed.

Each start is forked from a process that has already imported everything, which takes one second instead of ten.
"""

import itertools
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from feedline.training import checkpoint

FLAGS = [
    "--recipe", "demo", "--device", "cpu", "--classes", "2", "--batch-size", "16", "--image-size", "16",
    "--epochs", "2", "--ema", "0.9", "--log-every", "1", "--save-every", "2",
]  # fmt: skip
KILLS_PER_RUN = 30  # then the run is left to finish: on a busy machine it otherwise never would
WRITING = checkpoint.LAST + ".tmp"
UNTIMED = (
    "step", "epoch", "stream", "loss", "top1", "lr", "train_loss", "train_top1", "val_loss", "val_top1", "val_top5"
)  # fmt: skip


def _train(argv: list[str], folder: str, small: bool) -> None:
    """Trains in a forked process."""
    os.chdir(folder)
    sys.stdout = sys.stderr = Path("output.txt").open("a")  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from feedline.cli.main import main
    from feedline.model import resnet18
    from tests.training.conftest import small_model

    status = main(["--mode", "train", *argv], network=small_model if small else resnet18)
    sys.stdout.flush()
    os._exit(status)


def run(data: Path, folder: Path, *, kills: int, seed: int = 0, small: bool = False) -> dict[str, Any]:
    """Kills runs until there were enough kills. Every run is resumed until it is complete.

    Args:
        data: a dataset folder.
        folder: working folder.
        kills: minimum number of kills.
        seed: seed of the times and signals.
        small: a network of a few thousand weights instead of ResNet18.

    Returns:
        The counts.

    Raises:
        AssertionError: if a killed run has a different result from the run that was not killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["feedline.cli.main", "tests.training.conftest", "matplotlib.pyplot"])
    rng = random.Random(seed)

    def start(out: str, resume: bool) -> BaseProcess:
        argv = ["--resume", out] if resume else ["--data", str(data), *FLAGS, "--out", out]
        process = context.Process(target=_train, args=(argv, str(folder), small))
        process.start()
        return process

    started = time.monotonic()
    whole = start("whole", False)
    whole.join()
    assert whole.exitcode == 0, (folder / "output.txt").read_text()
    duration = time.monotonic() - started
    counts: Counter[str] = Counter()
    while counts["kills"] < kills:
        out = folder / f"run-{counts['runs']}"
        for number in itertools.count():
            resume = (out / checkpoint.LAST).exists()
            (out / WRITING).unlink(missing_ok=True)  # of the kill before
            process = start(out.name, resume)
            killed = _kill(process, out, rng, duration) if number < KILLS_PER_RUN else Counter[str]()
            counts.update(killed)
            if not killed:
                process.join()
                assert process.exitcode == 0, (folder / "output.txt").read_text()
                break
            _check_last(out, counts)
        counts["runs"] += 1
        _check_same(out, folder / "whole")
    return {"kills": counts.pop("kills"), "runs": counts.pop("runs"), **counts, "seconds": time.monotonic() - started}


def _kill(process: BaseProcess, out: Path, rng: random.Random, duration: float) -> Counter[str]:
    """Kills a process at a random moment or while it writes a checkpoint. Returns no counts if it ended before that."""
    how = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    while_writing = how == signal.SIGKILL and rng.random() < 0.5
    process.join(rng.uniform(0, min(duration / 3, 5)))
    writing = out / WRITING
    deadline = time.monotonic() + 20
    while while_writing and process.is_alive() and not writing.exists() and time.monotonic() < deadline:
        time.sleep(0.0005)
    if not process.is_alive():
        return Counter()
    assert process.pid is not None
    os.kill(process.pid, how)
    process.join(300)
    assert process.exitcode is not None, "the process did not end within five minutes"
    if process.exitcode == 0:  # the run had just finished
        return Counter()
    return Counter({"kills": 1, how.name: 1, "while writing a checkpoint": int(writing.exists())})


def _check_last(out: Path, counts: Counter[str]) -> None:
    """Checks that the last checkpoint, if there is one, can be read."""
    if (out / checkpoint.LAST).exists():
        checkpoint.load(out / checkpoint.LAST)
    else:
        counts["before the first checkpoint"] += 1


def _check_same(run: Path, whole: Path) -> None:
    """Checks that weights, optimizer and schedule have equal bits, and that log and best epoch are the same."""
    for name in (checkpoint.LAST, checkpoint.BEST):
        actual, expected = checkpoint.load(run / name), checkpoint.load(whole / name)
        for key in ("model", "average", "optimizer", "schedule", "scaler", "rng", "average_updates", "val_top1"):
            assert _equal(getattr(actual, key), getattr(expected, key)), f"{name}: {key} differs"
    logs = [[json.loads(line) for line in (f / "log.jsonl").read_text().splitlines()] for f in (run, whole)]
    actual_log, expected_log = [[{k: r[k] for k in UNTIMED if k in r} for r in log] for log in logs]
    assert actual_log == expected_log
    summaries = [json.loads((f / "summary.json").read_text()) for f in (run, whole)]
    assert summaries[0]["best"] == summaries[1]["best"]
    assert not list(run.glob("*.tmp"))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)
