"""python -m bench.ladder: measures one machine in several rungs, each in a separate process with a time limit.

Rungs: correct (tests), feed (loader alone), compute (model alone), together (both), profile (where a step's time goes),
accuracy (recipes with a target) and assignment-scale (224 pixels), in order of worth. Each rung has a JSON file; every
measurement is written to it at once, and --go-on keeps those that are there. Run it from the repository's root: it need
not be installed.
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

from bench.common import command
from bench.ladder import profile
from bench.ladder.compute import run_compute, run_large, run_together
from bench.ladder.feed import run as run_feed
from bench.ladder.pictures import write_pictures
from bench.ladder.runs import ROOT, chosen_recipes, run_accuracy, run_correct, targets
from bench.ladder.settings import Settings
from bench.ladder.tables import write_tables
from feedline import Dataset, InputError
from feedline.convert import build

RUNGS: dict[str, Callable[[Settings], None]] = {
    "correct": run_correct,
    "feed": run_feed,
    "compute": run_compute,
    "together": run_together,
    "profile": profile.run,
    "accuracy": run_accuracy,
    "assignment-scale": run_large,
}
# Shares of the total time. Training takes most.
SHARES = {"correct": 3, "feed": 5, "compute": 7, "together": 3, "profile": 1, "accuracy": 12, "assignment-scale": 2}
GRACE = 30.0  # a rung that exceeds its time by this many seconds is killed


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench.ladder", description=__doc__)
    p.add_argument("--out", type=Path, required=True, help="folder for results; nothing is written outside it")
    p.add_argument("--data", type=Path, help="a dataset with both packs (default: the built-in sample)")
    p.add_argument("--rungs", default=",".join(RUNGS), help=f"comma-separated (default: {','.join(RUNGS)})")
    p.add_argument("--minutes", type=float, default=30.0, help="time for all rungs (default: 30)")
    p.add_argument("--seconds", type=float, default=2.0, help="minimum length of a measurement (default: 2)")
    p.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    p.add_argument(
        "--go-on", action="store_true",
        help="keep what an earlier call with the same --out measured on such a machine, and the tests that passed",
    )  # fmt: skip
    p.add_argument("--recipes", default="", help=f"for accuracy: {', '.join(targets())} (default: all of them)")
    p.add_argument("--flags", default="", help='for accuracy: more flags of train.py, as --flags="--compile"')
    p.add_argument("--tiny", action="store_true", help="the smallest sizes, to test the ladder itself")
    p.add_argument("--only", choices=list(RUNGS), help=argparse.SUPPRESS)  # used in the process of a rung
    return p


@command("bench.ladder")
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    args.out, args.data = args.out.resolve(), args.data and args.data.resolve()
    if args.only:
        torch.backends.cudnn.benchmark = True  # as in long runs
        RUNGS[args.only](_settings(args, args.minutes))
        return 0
    return climb(args)


def _settings(args: argparse.Namespace, minutes: float) -> Settings:
    recipes = tuple(name for name in args.recipes.split(",") if name)
    return Settings(args.out, args.data, minutes, args.device, args.tiny, args.seconds, args.go_on, recipes, args.flags)


def _end(signum: int, _: object) -> None:
    """Ends the rung too, which has a session of its own."""
    raise SystemExit(128 + signum)


def climb(args: argparse.Namespace) -> int:
    """Runs the rungs one after another. Returns 1 if any of them failed, else 0."""
    rungs = [name for name in args.rungs.split(",") if name]
    if not rungs:
        raise InputError(f"--rungs: its value is empty; choose from {', '.join(RUNGS)}")
    if unknown := [name for name in rungs if name not in RUNGS]:
        raise InputError(f"--rungs {unknown[0]}: choose from {', '.join(RUNGS)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA GPU here; use --device cpu, or check the driver")
    chosen_recipes(_settings(args, args.minutes))
    args.out.mkdir(parents=True, exist_ok=True)
    if args.data is None:
        args.data = args.out / "data"
        if not args.data.exists() and build.main(["--source", "sample", "--out", str(args.data)]):
            return 1
    missing = {"jpeg", "raw"} - Dataset(args.data).packs.keys()
    if missing:
        raise InputError(f"--data {args.data}: has no {missing.pop()} pack; build it with --packs jpeg,raw")
    failed = []
    for number, name in enumerate(rungs):
        rest = sum(SHARES[rung] for rung in rungs[number:])
        minutes = args.minutes * SHARES[name] / rest
        if minutes <= 0:
            print(f"{name}: no time left; give more --minutes or fewer --rungs", flush=True)
            failed.append(name)
            continue
        print(f"{name}: up to {minutes:.1f} minutes", flush=True)
        try:
            minutes_used, status = _run_rung(args, name, minutes)
        finally:
            write_tables(args.out)
            write_pictures(args.out)
        args.minutes -= minutes_used
        if status:
            failed.append(name)
            print(f"{name}: exit status {status}; results so far: {args.out / name}.json", flush=True)
    print(f"tables: {args.out / 'ladder.md'}")
    return 1 if failed else 0


def _run_rung(args: argparse.Namespace, name: str, minutes: float) -> tuple[float, int]:
    """Runs a rung in a separate process. Returns the minutes used and the exit status."""
    options = ["--only", name, "--minutes", str(minutes), "--out", str(args.out), "--data", str(args.data)]
    options += ["--device", args.device, "--seconds", str(args.seconds), "--recipes", args.recipes]
    options += [f"--flags={args.flags}"]
    options += [*["--tiny"] * args.tiny, *["--go-on"] * args.go_on]
    started, before = time.monotonic(), signal.signal(signal.SIGTERM, _end)
    process = subprocess.Popen([sys.executable, "-m", "bench.ladder", *options], start_new_session=True, cwd=ROOT)
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60 * minutes + GRACE)
    finally:  # also kills its child processes
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        signal.signal(signal.SIGTERM, before)
    status = process.wait()
    return (time.monotonic() - started) / 60, status


if __name__ == "__main__":
    sys.exit(main())
