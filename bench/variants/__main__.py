"""python -m bench.variants FILE.toml: trains each variant of a list with several seeds, and compares them.

Every run is one of `train.py --mode train`, in a process and a folder of its own. A series that was stopped continues
where it stood when it is started again: complete runs are read, others are resumed.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench.common import command, command_line
from bench.variants.page import print_table, put_between_marks, section
from bench.variants.results import collect, outcome
from bench.variants.runs import TRAIN, Run
from bench.variants.schedule import only_one, run_all
from bench.variants.series import Series, parse_seeds, read_series
from feedline.pipeline.errors import InputError, first_line
from feedline.pipeline.files import write_json


@command("bench.variants", stopped="stopped and saved; the same command continues")
def main(argv: Sequence[str] | None = None, *, train: Sequence[str] = TRAIN) -> int:
    """Runs the command.

    Args:
        argv: the arguments (default: the process's).
        train: the program that trains, before `--mode train`.
    """
    p = argparse.ArgumentParser(prog="python -m bench.variants", description=(__doc__ or "").split(": ", 1)[1])
    p.add_argument("file", type=Path, help="TOML: seeds = [0, 1], a table [base], tables [[variant]] with a name")
    p.add_argument("--out", type=Path, help="where runs and results go (runs/variants-<name of the file>)")
    p.add_argument("--only", metavar="NAMES", help="run only these variants, comma-separated")
    p.add_argument("--seeds", help="as 0,1,2; overrides the file (0,1,2)")
    p.add_argument("--torch-threads", type=int, default=1, help="threads of each run: torch's and the loader's (1)")
    p.add_argument("--jobs", type=int, default=1, help="runs at a time, each on cores of its own (1)")
    p.add_argument("--markdown", type=Path, metavar="PAGE", help="run nothing; put the table into this page")
    args = p.parse_args(argv)
    args.out = args.out or Path("runs") / f"variants-{args.file.stem}"
    args.command = command_line("bench.variants", argv)
    series = read_series(args.file)
    if args.seeds is not None:
        series = replace(series, seeds=parse_seeds(args.seeds, "`seeds`"))
    runs = plan(series, args.out, train)
    for run in runs:
        run.check()
    return _write_page(series, runs, args) if args.markdown else _run(series, runs, args)


def plan(series: Series, out: Path, train: Sequence[str] = TRAIN) -> list[Run]:
    """The runs of a series: the first seed of all variants, then the next."""
    return [
        Run(variant, seed, out.resolve() / variant.name / f"seed-{seed}", train)
        for seed in series.seeds
        for variant in series.variants
    ]


def _run(series: Series, runs: Sequence[Run], args: argparse.Namespace) -> int:
    names = [variant.name for variant in series.variants]
    only = args.only.split(",") if args.only else names
    if unknown := set(only) - set(names):
        raise InputError(f"`only={args.only}`: no variant {min(unknown)!r}; there are {', '.join(names)}")

    def report(run: Run | None = None) -> None:
        if run is not None:
            _print_run(run)
        write_json(args.out / "variants.json", {"command": args.command, **collect(series, runs)})

    with only_one(args.out):
        report()
        chosen = [run for run in runs if run.variant.name in only]
        run_all(chosen, jobs=args.jobs, threads=args.torch_threads, on_end=report)
    print_table(collect(series, runs))
    print(f"results: {args.out / 'variants.json'}")
    return 0


def _print_run(run: Run) -> None:
    result, start = outcome(run), f"seed {run.seed}  {run.variant.name:<24}"
    if result is None or "problem" in result:
        print(f"{start}  {result['problem'] if result else 'no result'}", flush=True)
        return
    top1 = f"val top-1 {result['final_top1']:6.2f} %  best {result['best_top1']:6.2f} %"
    print(f"{start}  {top1}  {result['seconds']:,.0f} s  {result['images_per_s']:,.0f} images/s", flush=True)


def _write_page(series: Series, runs: Sequence[Run], args: argparse.Namespace) -> int:
    content = collect(series, runs)
    if content["hardware"] is None:
        raise InputError(f"`out={args.out}`: holds no complete run; run the series first, without --markdown")
    put_between_marks(args.markdown, series.name, section(content, _command(args.out / "variants.json")))
    print(f"wrote the table into {args.markdown}")
    return 0


def _command(path: Path) -> str:
    """The command that ran the series.

    Raises:
        InputError: if its results do not say it.
    """
    try:
        return str(json.loads(path.read_text())["command"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"`out={path.parent}`: {path.name} does not say the command ({first_line(error)})") from error


if __name__ == "__main__":
    sys.exit(main())
