"""python -m bench.lr_study: runs the LR range test and trains at many learning rates, to judge its suggestions.

Results are written after every measurement, and what is there is not measured again.
"""

import argparse
import functools
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.common import about, command
from bench.lr_study.cases import KINDS, SETS, Case, cases, search
from bench.lr_study.table import suggestions, tables
from bench.variants.page import put_between_marks
from bench.variants.runs import commit
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import write_json


class Results:
    """What was measured, by case and by what was asked; written to a file after every measurement.

    Args:
        path: the file; its content is read.
        about: command and machine, for a new file.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path = path
        self.content: dict[str, Any] = {**about, "sweeps": {}, "trainings": {}}
        if path.exists():
            self.content = json.loads(path.read_text(encoding="utf-8"))

    def get(self, kind: str, case: Case, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of a measurement, which is made if it is not there yet."""
        there = self.content[kind].setdefault(case.name, {})
        if key not in there:
            started = time.process_time()
            there[key] = measure()
            there[key]["cpu_seconds"] = round(time.process_time() - started, 1)
            write_json(self._path, self.content)
            shown = f"top-1 {there[key]['top1']:.2f} %" if "top1" in there[key] else there[key]["stopped"]
            print(f"{case.name:<32} {kind} {key:<12} {there[key]['cpu_seconds']:5.1f} s  {shown}", flush=True)
        result: dict[str, Any] = there[key]
        return result


def measure(results: Results, todo: Sequence[Case], sweep_seeds: int, seeds: int) -> None:
    """Runs the range tests of one epoch, the trainings, and the other range tests."""

    def sweeps(kind: str) -> None:
        for seed, case in itertools.product(range(sweep_seeds), todo):
            results.get("sweeps", case, f"{kind} {seed}", functools.partial(case.sweep, seed, kind))

    def train(case: Case, seed: int, k: int) -> float:
        result = results.get("trainings", case, f"2^{k} {seed}", functools.partial(case.train, 2.0**k, seed))
        return float(result["top1"])

    sweeps("epoch")
    for seed, case in itertools.product(range(seeds), todo):
        found = suggestions(results.content["sweeps"][case.name])
        low, high = statistics.median(found["valley"]), statistics.median(found["minimum"])
        search(functools.partial(train, case, seed), low, high)
    for kind in KINDS:
        sweeps(kind)


@command("bench.lr_study", stopped="stopped; the same command continues")
def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m bench.lr_study", description=(__doc__ or "").split(": ", 1)[1])
    for name in SETS:
        p.add_argument(f"--{name}", default=f"data/{name}", help=f"dataset folder (data/{name})")
    p.add_argument("--out", type=Path, default=Path("runs/lr-study"), help="where results go (runs/lr-study)")
    p.add_argument("--only", default="", help="only cases whose name contains this")
    p.add_argument("--width", type=int, help="channels of the stem (16); 64 is ResNet18")
    p.add_argument("--sweep-seeds", type=int, default=3, help="range tests of each kind in a case (3)")
    p.add_argument("--seeds", type=int, default=1, help="trainings at each rate (1)")
    p.add_argument("--markdown", type=Path, metavar="PAGE", help="measure nothing; put the tables into this page")
    args = p.parse_args(argv)
    folders = {name: getattr(args, name.replace("-", "_")) for name in SETS}
    todo = [case for case in cases(folders) if args.only in case.name]
    if args.width:
        todo = [Case(case.data, case.set, case.optimizer, case.batch_size, args.width) for case in todo]
    torch.set_num_threads(1)
    if not todo:
        raise InputError(f"`only={args.only}`: no such case; there are {', '.join(c.name for c in cases(folders))}")
    args.out.mkdir(parents=True, exist_ok=True)
    results = Results(args.out / "lr_study.json", {**about("bench.lr_study", argv), "commit": commit()})
    if args.markdown:
        put_between_marks(args.markdown, "lr-study", tables(results.content))
    else:
        measure(results, todo, args.sweep_seeds, args.seeds)
        print(tables(results.content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
