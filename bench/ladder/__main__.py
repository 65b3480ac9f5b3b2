"""python -m bench.ladder: what a machine makes of all this, rung by rung, each in a process and a time of its own.

correct (tests), feed (loader alone), compute (model alone), together (both), accuracy (recipes with a target) and
assignment-scale (224 pixels). Every measurement is in the rung's JSON file the moment it is known.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from bench.ladder.compute import run_compute, run_large, run_together
from bench.ladder.feed import run as run_feed
from bench.ladder.runs import run_accuracy, run_correct
from bench.ladder.settings import Settings
from bench.ladder.tables import write_tables
from feedline import Dataset, InputError
from feedline.convert import build
from feedline.pipeline.errors import FeedlineError, as_flags

RUNGS: dict[str, Callable[[Settings], None]] = {
    "correct": run_correct,
    "feed": run_feed,
    "compute": run_compute,
    "together": run_together,
    "accuracy": run_accuracy,
    "assignment-scale": run_large,
}
# How the time is shared out: training takes most.
SHARES = {"correct": 3, "feed": 5, "compute": 5, "together": 3, "accuracy": 12, "assignment-scale": 2}
GRACE = 90.0  # seconds beyond its time after which a rung is ended from outside


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench.ladder", description=__doc__)
    p.add_argument("--out", type=Path, required=True, help="folder for results; nothing is written elsewhere")
    p.add_argument("--data", type=Path, help="a dataset with both packs (default: the built-in sample, made in --out)")
    p.add_argument("--rungs", default=",".join(RUNGS), help=f"which, with commas (default: {','.join(RUNGS)})")
    p.add_argument("--minutes", type=float, default=30.0, help="for all of them together (default: 30)")
    p.add_argument("--seconds", type=float, default=2.0, help="the least length of a measurement (default: 2)")
    p.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    p.add_argument("--tiny", action="store_true", help="the smallest sizes, to try the ladder itself")
    p.add_argument("--only", choices=list(RUNGS), help=argparse.SUPPRESS)  # in the process of one rung
    return p


def main(argv: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(words)
    try:
        if args.only:
            RUNGS[args.only](_settings(args, args.minutes))
            return 0
        return climb(args)
    except FeedlineError as error:
        print(f"bench.ladder: {as_flags(error)}", file=sys.stderr)
        return 2


def _settings(args: argparse.Namespace, minutes: float) -> Settings:
    return Settings(args.out.resolve(), args.data.resolve(), minutes, args.device, args.tiny, args.seconds)


def climb(args: argparse.Namespace) -> int:
    """Runs the rungs one after the other; 1 if one of them failed."""
    rungs = [name for name in args.rungs.split(",") if name]
    if strange := [name for name in rungs if name not in RUNGS]:
        raise InputError(f"--rungs {strange[0]}: choose from {', '.join(RUNGS)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA GPU here; use --device cpu, or check the driver")
    args.out.mkdir(parents=True, exist_ok=True)
    if args.data is None:
        args.data = args.out / "data"
        if build.main(["--source", "sample", "--out", str(args.data)]):
            return 1
    missing = {"jpeg", "raw"} - Dataset(args.data).packs.keys()
    if missing:
        raise InputError(f"--data {args.data}: has no {missing.pop()} pack; build it with --packs jpeg,raw")
    failed = []
    for number, name in enumerate(rungs):
        rest = sum(SHARES[rung] for rung in rungs[number:])
        minutes = args.minutes * SHARES[name] / rest
        if minutes <= 0:
            print(f"{name}: no time is left; give more --minutes, or fewer --rungs", flush=True)
            failed.append(name)
            continue
        print(f"{name}: up to {minutes:.1f} minutes", flush=True)
        took, status = _rung(args, name, minutes)
        args.minutes -= took
        if status:
            failed.append(name)
            print(f"{name}: ended with status {status}; what it had found is in {args.out / name}.json", flush=True)
        write_tables(args.out)
    print(f"tables: {args.out / 'ladder.md'}")
    return 1 if failed else 0


def _rung(args: argparse.Namespace, name: str, minutes: float) -> tuple[float, int]:
    """One rung in a process of its own: minutes taken, exit status."""
    options = ["--only", name, "--minutes", str(minutes), "--out", str(args.out), "--data", str(args.data)]
    options += ["--device", args.device, "--seconds", str(args.seconds), *["--tiny"] * args.tiny]
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "bench.ladder", *options], start_new_session=True)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60 * minutes + GRACE)
    finally:  # whatever it started goes with it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    status = process.wait()
    return (time.monotonic() - started) / 60, status


if __name__ == "__main__":
    sys.exit(main())
