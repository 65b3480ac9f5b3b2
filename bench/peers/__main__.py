"""python -m bench.peers: loaders side by side.

Each contestant runs in a separate process. First the pixels of all are compared on a small set of images; who differs
is marked. Then come interleaved rounds: in each the contestants are measured one after another, while the others wait.
All data is in the page cache. Reported: medians, range, ratio to ours, CPU time, memory, time to the first batch, the
conditions of every row, and the ratios that this project promises.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bench.common import about, command
from bench.peers.checkset import make_check_set
from bench.peers.contestants import CONTESTANTS
from bench.peers.files import conversion, prepare
from bench.peers.job import WORKS, Contestant, Job
from bench.peers.promises import ratios
from bench.peers.race import Entry, agree, compete
from bench.peers.report import picture, report
from feedline import Dataset, InputError
from feedline.pipeline.cores import available_cores
from feedline.pipeline.files import write_json
from feedline.training.meter import hardware


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench.peers", description="Measure image loaders side by side.")
    p.add_argument("--data", type=Path, default=Path("data/tiny-imagenet"), help="dataset folder (data/tiny-imagenet)")
    p.add_argument("--out", type=Path, default=Path("runs/peers"), help="where results go (runs/peers)")
    p.add_argument("--files", type=Path, help="folder for the files of other loaders, which are kept (<data>-peers)")
    p.add_argument("--works", default="train,pixels", help="from train, pixels, photos, conversion (train,pixels)")
    p.add_argument("--only", help="parts of contestants' names, comma-separated (default: all)")
    p.add_argument("--configurations", choices=["all", "fastest", "defaults"], default="all", help="of the peers (all)")
    p.add_argument("--source", type=Path, help="image folder to convert, for --works conversion")
    p.add_argument("--batch-size", type=int, default=256, help="images in a batch (256)")
    p.add_argument(
        "--threads", type=int, default=available_cores(), help="threads or worker processes of each (one per core)"
    )
    p.add_argument("--rounds", type=int, default=5, help="interleaved rounds; 0 to compare pixels only (5)")
    p.add_argument("--starts", type=int, default=3, help="process starts, to measure the time to the first batch (3)")
    p.add_argument("--seconds", type=float, default=3.0, help="length of a round (3)")
    p.add_argument("--check", action=argparse.BooleanOptionalAction, default=True, help="compare pixels first (yes)")
    p.add_argument("--max-size", type=int, help="photos: largest side in other loaders' packs, in pixels")
    return p


@command("bench.peers")
def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    works = args.works.split(",")
    for name in works:
        if name not in (*WORKS, "conversion"):
            raise InputError(f"--works {name}: choose from {', '.join(WORKS)}, conversion")
    if "conversion" in works and args.source is None:
        raise InputError("--works conversion: needs --source, the image folder to convert")
    dataset = Dataset(args.data)
    folder = args.files or args.data.with_name(args.data.name + "-peers")
    args.out.mkdir(parents=True, exist_ok=True)
    begin = {**about("bench.peers", argv), "dataset": dataset.name}
    prepare(dataset, folder, args.threads, args.max_size)
    for name in works:
        content = _conversion(args, dataset, folder) if name == "conversion" else _race(args, name, dataset, folder)
        write_json(args.out / f"{name}.json", {**begin, **content})
    return 0


def _race(args: argparse.Namespace, work: str, dataset: Dataset, folder: Path) -> dict[str, Any]:
    chosen = _choose(args, work)
    entries = [Entry(c, problem=f"not installed; {c.install}" if c.missing() else "") for c in chosen]
    job = Job(args.data, folder, work, args.batch_size, args.threads)
    agree(entries, job, _check_set(args, dataset, job))
    if args.rounds:
        compete(entries, job, rounds=args.rounds, starts=args.starts, seconds=args.seconds)
    machine = hardware(torch.device("cpu"))
    title = f"{WORKS[work].title}\nbatches of {args.batch_size}, {machine['cores']} cores of {machine['cpu']}"
    heading = f"{title}; medians of {args.rounds} rounds of {args.seconds} s"
    text = report(entries, job)
    print(f"\n{heading}\n\n{text}")
    (args.out / f"{work}.md").write_text(f"{heading}\n\n{text}\n")
    if any(entry.rounds for entry in entries):
        picture(args.out / f"{work}.png", entries, title)
    return {
        "work": WORKS[work].title,
        "batch_size": args.batch_size,
        "threads": args.threads,
        "rounds": args.rounds,
        "ratios": [ratio.summary() for ratio in ratios(entries, work)],
        "results": [entry.summary(job) for entry in entries],
    }


def _choose(args: argparse.Namespace, work: str) -> list[Contestant]:
    wanted = args.only.split(",") if args.only else [""]
    chosen = [c for c in CONTESTANTS if work in c.works and any(w in c.name for w in wanted)]
    unwanted = {"all": None, "fastest": True, "defaults": False}[args.configurations]
    chosen = [c for c in chosen if c.ours or c.floor or c.name.endswith(", defaults") is not unwanted]
    if not chosen:
        raise InputError(f"--only {args.only}: no such contestant; there are {'; '.join(c.name for c in CONTESTANTS)}")
    return chosen


def _check_set(args: argparse.Namespace, dataset: Dataset, job: Job) -> Any:
    if not args.check:
        return "--no-check"
    if job.kind == "photos":
        return "crops are resized, each loader has its own filter"
    return make_check_set(dataset, job.files, job.batch_size * job.threads, job.size, job.threads)


def _conversion(args: argparse.Namespace, dataset: Dataset, folder: Path) -> dict[str, Any]:
    seconds = conversion(args.source, dataset, folder, args.threads, args.rounds)
    medians = {name: round(statistics.median(values), 1) for name, values in seconds.items()}
    print(f"\nconverting {dataset.count:,} images, seconds; medians of {args.rounds} rounds")
    for name, value in medians.items():
        print(f"{name:<34}{value:>10,.1f}")
    return {"medians_s": medians, "rounds_s": {n: [round(v, 2) for v in values] for n, values in seconds.items()}}


if __name__ == "__main__":
    sys.exit(main())
