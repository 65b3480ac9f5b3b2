"""The rungs correct and accuracy: the tests, and training of the recipes that have a target."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.ladder.outcomes import outcomes
from bench.ladder.settings import Settings
from feedline.cli.recipes import RECIPES, read_recipe
from feedline.pipeline.errors import InputError

ROOT = Path(__file__).parents[2]
SAVING = 25.0  # seconds for train.py to save when its time is up


def run_correct(settings: Settings) -> None:
    """Runs the tests for a GPU if there is one, else those that compare engines and stores.

    Each outcome is in correct.jsonl at once. Going on leaves out the tests that passed.
    """
    report, gpu = settings.report("correct"), settings.on.type == "cuda"
    files = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "tests").rglob("test_*.py")) if _for_gpu(p)]
    chosen = ["-m", "gpu"] if gpu else ["-k", "agree" if settings.tiny else "agree or resum or same"]
    result, before = settings.out / "correct.jsonl", settings.out / "correct-before.jsonl"
    before.write_text(result.read_text() if settings.go_on and result.exists() else "")
    result.write_text(before.read_text())
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "bench.ladder.outcomes"]
    command += ["--continue-on-collection-errors", f"--basetemp={settings.out / 'correct-work'}", *_plugins(gpu)]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},  # of tests around it
        "PYTHONPYCACHEPREFIX": str(settings.out / "pycache"),
        "LADDER_OUTCOMES": str(result),
        "LADDER_BEFORE": str(before),
    }

    def measure() -> dict[str, Any]:
        status = None
        with (settings.out / "correct.log").open("w") as log, contextlib.suppress(subprocess.TimeoutExpired):
            status = subprocess.run(
                [*command, *chosen, *files], cwd=ROOT, env=environment, stdout=log, stderr=log,
                timeout=report.time_left(), check=False,
            ).returncode  # fmt: skip
        return {**counted(result), "finished": status in (0, 1)}  # not if pytest itself came to an end

    report.row(measure, tests=" ".join(chosen))
    report.close()


def _for_gpu(test: Path) -> bool:
    """Whether a file has tests for a GPU; `DEVICES` is a parameter of some."""
    text = test.read_text(encoding="utf-8")
    return "pytest.mark.gpu" in text or "DEVICES" in text


def _plugins(gpu: bool) -> list[str]:
    """On a GPU a test that crashes or hangs must not end the others, where pytest's plugins for that are installed."""
    flags = {"xdist": ["-n", "6", "--dist", "worksteal"], "pytest_timeout": ["--timeout", "150"]}
    return [flag for name, some in flags.items() if gpu and find_spec(name) for flag in some]


def counted(path: Path) -> dict[str, Any]:
    """Counts the outcomes in a file that the plugin wrote, and lists the failures."""
    lines = outcomes(path).values()
    counts = {kind: sum(line["outcome"] == kind for line in lines) for kind in ("passed", "failed", "skipped")}
    failures = [f"{line['test']}: {line['reason']}" for line in lines if line["outcome"] == "failed"]
    return {**counts, "failures": failures}


def targets() -> dict[str, float]:
    """The target top-1 of each recipe that has one."""
    values = {path.stem: read_recipe(path.stem).get("target") for path in sorted(RECIPES.glob("*.toml"))}
    return {name: target for name, target in values.items() if target is not None}


def chosen_recipes(settings: Settings) -> dict[str, float]:
    """The recipes to train and their targets: those asked for, else all, on a GPU those for CPUs last."""
    known = targets()
    if unknown := [name for name in settings.recipes if name not in known]:
        raise InputError(f"--recipes {unknown[0]}: choose from {', '.join(known)}")
    last = settings.on.type == "cuda"
    names = settings.recipes or sorted(known, key=lambda name: last and name.startswith("cpu"))
    return {name: known[name] for name in names}


def run_accuracy(settings: Settings) -> None:
    """Trains recipes that have a target, with train.py, one after the other: each may take the time that is left."""
    report = settings.report("accuracy")
    for recipe, target in chosen_recipes(settings).items():
        train = partial(_train, settings, recipe, report.time_left())
        report.row(train, recipe=recipe, target=target, flags=settings.flags)
    report.close()


def _train(settings: Settings, recipe: str, limit: float) -> dict[str, Any]:
    out = settings.out / re.sub(r"[^a-z0-9]+", "-", f"accuracy-{recipe} {settings.flags}").strip("-")
    shutil.rmtree(out, ignore_errors=True)  # of an earlier call, which did not end
    command = [sys.executable, str(ROOT / "train.py"), "--mode", "train", "--recipe", recipe, "--amp"]
    command += ["--data", str(settings.data), "--device", settings.device, "--out", str(out)]
    command += shlex.split(settings.flags)
    if settings.tiny:
        command += ["--image-size", "16", "--batch-size", "16", "--classes", "2", "--epochs", "5"]
    started = time.monotonic()
    with out.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, cwd=settings.out, stdout=log, stderr=log)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # saves a checkpoint
            process.wait(SAVING)
    whole = time.monotonic() - started  # with its start, loading and saving
    log_lines = (out / "log.jsonl").read_text().splitlines() if (out / "log.jsonl").exists() else []
    rows = [row for line in log_lines if "val_top1" in (row := json.loads(line))]
    result = progress(rows, read_recipe(recipe)["target"])
    for name in ("last.pt", "previous.pt", "best.pt"):  # about 100 MB each
        (out / name).unlink(missing_ok=True)
    return {**result, "whole_seconds": round(whole, 1), "finished": process.returncode == 0}


def progress(rows: list[dict[str, Any]], target: float) -> dict[str, Any]:
    """Final and best top-1, and when the target was reached, from the log records of the epochs."""
    if not rows:
        return {"epochs": 0}
    evaluated = [row for row in rows if row["val_top1"] is not None]
    if not evaluated:
        return {"epochs": rows[-1]["epoch"]}
    reached = next((row for row in evaluated if row["val_top1"] >= target), None)
    return {
        "epochs": rows[-1]["epoch"],
        "final_top1": evaluated[-1]["val_top1"],
        "best_top1": max(row["val_top1"] for row in evaluated),
        "seconds": rows[-1]["seconds"],
        "seconds_to_target": None if reached is None else reached["seconds"],
        "epochs_to_target": None if reached is None else reached["epoch"],
        "images_per_s": rows[-1]["images_per_s"],
        "stall": rows[-1]["stall"],
    }
