"""Rungs 1 and 5: the tests, and training of the recipes that have a target."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from functools import partial
from pathlib import Path
from typing import Any

from bench.ladder.settings import Settings
from feedline.cli.recipes import RECIPES, read_recipe

ROOT = Path(__file__).parents[2]


def run_correct(settings: Settings) -> None:
    """Runs the tests marked `gpu` if there is a GPU, else those that compare engines and stores."""
    report, gpu = settings.report("correct"), settings.on.type == "cuda"
    files = [str(p) for p in sorted((ROOT / "tests").rglob("test_*.py")) if "pytest.mark.gpu" in p.read_text()]
    chosen = ["-m", "gpu"] if gpu else ["-k", "agree" if settings.tiny else "agree or resum or same"]
    result, work = settings.out / "correct.xml", settings.out / "correct-work"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += [f"--basetemp={work}", f"--junitxml={result}"]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(settings.out / "pycache")}

    def measure() -> dict[str, Any]:
        with (settings.out / "correct.log").open("w") as log:
            subprocess.run(
                [*command, *chosen, *files], cwd=ROOT, env=environment, stdout=log, stderr=log,
                timeout=report.time_left(), check=False,
            )  # fmt: skip
        return outcomes(result)

    try:
        report.row(measure, tests=" ".join(chosen))
    except subprocess.TimeoutExpired:
        report.content["rows"].append({"problem": "the tests did not finish in time; see correct.log"})
    report.close()


def outcomes(junit: Path) -> dict[str, Any]:
    """Counts results in a JUnit file and lists the failures."""
    cases = ET.parse(junit).getroot().iter("testcase")
    counts: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "failures": []}
    for case in cases:
        bad = case.find("failure") if case.find("failure") is not None else case.find("error")
        if bad is not None:
            counts["failed"] += 1
            reason = (bad.get("message") or "").splitlines() or [""]
            counts["failures"].append(f"{case.get('classname')}::{case.get('name')}: {reason[0][:200]}")
        else:
            counts["skipped" if case.find("skipped") is not None else "passed"] += 1
    return counts


def targets() -> dict[str, float]:
    """The target top-1 of each recipe that has one."""
    values = {path.stem: read_recipe(path.stem).get("target") for path in sorted(RECIPES.glob("*.toml"))}
    return {name: target for name, target in values.items() if target is not None}


def run_accuracy(settings: Settings) -> None:
    """Trains every recipe that has a target, with train.py, each for an equal share of the time."""
    report, recipes = settings.report("accuracy"), targets()
    for number, (recipe, target) in enumerate(recipes.items()):
        limit = report.time_left() / (len(recipes) - number)
        report.row(partial(_train, settings, recipe, limit), recipe=recipe, target=target)
    report.close()


def _train(settings: Settings, recipe: str, limit: float) -> dict[str, Any]:
    out = settings.out / f"accuracy-{recipe}"
    command = [sys.executable, str(ROOT / "train.py"), "--mode", "train", "--recipe", recipe, "--amp"]
    command += ["--data", str(settings.data), "--device", settings.device, "--out", str(out)]
    if settings.tiny:
        command += ["--image-size", "16", "--batch-size", "16", "--classes", "2", "--epochs", "5"]
    with out.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, cwd=settings.out, stdout=log, stderr=log)
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)  # saves a checkpoint
            process.wait(60)
    log_lines = (out / "log.jsonl").read_text().splitlines() if (out / "log.jsonl").exists() else []
    rows = [row for line in log_lines if "val_top1" in (row := json.loads(line))]
    result = progress(rows, read_recipe(recipe)["target"])
    for name in ("last.pt", "previous.pt", "best.pt"):  # about 100 MB each
        (out / name).unlink(missing_ok=True)
    return {**result, "finished": process.returncode == 0}


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
