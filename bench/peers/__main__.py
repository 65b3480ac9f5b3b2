"""python -m bench.peers: loaders side by side.

Each contestant runs in a separate process. Rounds are interleaved: in each round the contestants are measured one
after another, while the others wait. All data is in the page cache. Reported: medians, range, ratio to ours, CPU time,
memory, and time to the first batch.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.peers.contestants import CONTESTANTS
from bench.peers.files import conversion, prepare, warm
from bench.peers.job import WORKS, Contestant, cores
from feedline import Dataset, InputError
from feedline.pipeline.errors import FeedlineError, as_flags
from feedline.pipeline.files import write_json
from feedline.training import plots
from feedline.training.meter import hardware, versions


@dataclass
class Entry:
    """A contestant and its measurements, or the `problem` if it could not run."""

    contestant: Contestant
    first_batch_s: list[float] = field(default_factory=list)
    rounds: list[dict[str, float]] = field(default_factory=list)
    problem: str = ""

    def median(self, key: str) -> float:
        return statistics.median(r[key] for r in self.rounds)

    def summary(self) -> dict[str, Any]:
        kind = "ours" if self.contestant.ours else "floor" if self.contestant.floor else "peer"
        line: dict[str, Any] = {"name": self.contestant.name, "kind": kind}
        if self.problem:
            return {**line, "problem": self.problem}
        speeds = [r["images_per_s"] for r in self.rounds]
        return {
            **line,
            "images_per_s": round(statistics.median(speeds), 1),
            "lowest": round(min(speeds), 1),
            "highest": round(max(speeds), 1),
            "cpu_us_per_image": round(self.median("cpu_us"), 2),
            "memory_mib": round(max(r["memory_mib"] for r in self.rounds)),
            "first_batch_s": round(statistics.median(self.first_batch_s), 2),
            "rounds": [round(v, 1) for v in speeds],
        }


class Running:
    """The process of a contestant."""

    def __init__(self, entry: Entry, job: dict[str, Any]) -> None:
        self.entry = entry
        words = [entry.contestant.name, json.dumps(job), repr(time.time())]
        command = [sys.executable, "-m", "bench.peers.worker", *words]
        self.log = (Path(job["files"]) / "log.txt").open("ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )

    def read_answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"exit status {self.process.wait()}; see {self.log.name}")
        answer: dict[str, float] = json.loads(line)
        return answer

    def measure(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.entry.rounds.append(self.read_answer())

    def stop(self) -> None:
        self.process.kill() if self.entry.problem else self.process.stdin.close()  # type: ignore[union-attr]
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def compete(entries: list[Entry], job: dict[str, Any], *, rounds: int, starts: int, seconds: float) -> None:
    """Measures all entries. If one fails, its `problem` is set."""
    ready: list[Running] = []
    folders = [Path(job["data"]), Path(job["files"])]
    for number in range(starts):
        warm(folders)
        for entry in entries:
            if entry.problem:
                continue
            running = Running(entry, job)
            try:
                entry.first_batch_s.append(running.read_answer()["first_batch_s"])
            except RuntimeError as error:
                entry.problem = str(error)
            if number == starts - 1 and not entry.problem:
                ready.append(running)
            else:
                running.stop()
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        warm(folders)
        for running in ready:
            if not running.entry.problem:
                try:
                    running.measure(seconds)
                except (RuntimeError, OSError) as error:
                    running.entry.problem = str(error)
    for running in ready:
        running.stop()


def show(entries: list[Entry]) -> None:
    """Prints the table, fastest first, then the contestants that could not run, with the reason."""
    ran = sorted((e for e in entries if not e.problem), key=lambda e: -e.median("images_per_s"))
    best = max((e.median("images_per_s") for e in ran if e.contestant.ours), default=0.0)
    heads = ("images/s", "lowest", "highest", "best of ours", "CPU us", "MiB", "first")
    widths = (10, 10, 10, 14, 9, 8, 8)
    print(" " * 34 + "".join(f"{head:>{width}}" for head, width in zip(heads, widths, strict=True)))
    for entry in ran:
        line = entry.summary()
        print(
            f"{line['name']:<34}{line['images_per_s']:>10,.0f}{line['lowest']:>10,.0f}{line['highest']:>10,.0f}"
            f"{best / line['images_per_s']:>12.2f} x{line['cpu_us_per_image']:>9.1f}{line['memory_mib']:>8,}"
            f"{line['first_batch_s']:>6.1f} s"
        )
    for entry in entries:
        if entry.problem:
            print(f"{entry.contestant.name:<34}{entry.problem}")


def picture(path: Path, entries: list[Entry], title: str) -> None:
    ran = [e.summary() for e in sorted(entries, key=lambda e: -e.median("images_per_s") if e.rounds else 0) if e.rounds]
    rows = [(r["name"], r["images_per_s"], r["lowest"], r["highest"]) for r in ran]
    colours = [{"ours": plots.BLUE, "peer": plots.GRAY, "floor": plots.PALE}[r["kind"]] for r in ran]
    plots.bars(path, rows, "images/s (median and range)", title, colours)


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="python -m bench.peers", description="Measure image loaders side by side.")
    p.add_argument("--data", type=Path, default=Path("data/tiny-imagenet"), help="dataset folder (data/tiny-imagenet)")
    p.add_argument("--out", type=Path, default=Path("runs/peers"), help="where results go (runs/peers)")
    p.add_argument("--files", type=Path, help="folder for the files of other loaders, which are kept (<data>-peers)")
    p.add_argument("--works", default="train,pixels", help="from train, pixels, photos, conversion (train,pixels)")
    p.add_argument("--only", help="parts of contestants' names, comma-separated (default: all)")
    p.add_argument("--source", type=Path, help="image folder to convert, for --works conversion")
    p.add_argument("--batch-size", type=int, default=256, help="images in a batch (256)")
    p.add_argument("--threads", type=int, default=cores(), help="threads or worker processes of each (one per core)")
    p.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    p.add_argument("--starts", type=int, default=3, help="process starts, to measure the time to the first batch (3)")
    p.add_argument("--seconds", type=float, default=3.0, help="length of a round (3)")
    p.add_argument("--max-size", type=int, help="photos: largest side in other loaders' packs, in pixels")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    try:
        run(args, "python -m bench.peers " + shlex.join(sys.argv[1:] if argv is None else argv))
    except FeedlineError as error:
        print(f"bench.peers: {as_flags(error)}", file=sys.stderr)
        return 2
    return 0


def run(args: argparse.Namespace, command: str) -> None:
    works = args.works.split(",")
    for name in works:
        if name not in (*WORKS, "conversion"):
            raise InputError(f"--works {name}: choose from {', '.join(WORKS)}, conversion")
    dataset = Dataset(args.data)
    folder = args.files or args.data.with_name(args.data.name + "-peers")
    args.out.mkdir(parents=True, exist_ok=True)
    where = hardware(torch.device("cpu"))
    machine = f"{where['cores']} cores of {where['cpu']}"
    about = {"command": command, "hardware": where, "versions": versions(), "dataset": dataset.name}
    prepare(dataset, folder, args.threads, args.max_size)
    for name in works:
        if name == "conversion":
            if args.source is None:
                raise InputError("--works conversion: needs --source, the image folder to convert")
            content = _conversion(args, dataset, folder)
        else:
            content = _race(args, name, folder, f"{WORKS[name].title}\nbatches of {args.batch_size}, {machine}")
        write_json(args.out / f"{name}.json", {**about, **content})


def _race(args: argparse.Namespace, work: str, folder: Path, title: str) -> dict[str, Any]:
    wanted = args.only.split(",") if args.only else [""]
    chosen = [c for c in CONTESTANTS if work in c.works and any(w in c.name for w in wanted)]
    if not chosen:
        raise InputError(f"--only {args.only}: no such contestant; there are {', '.join(c.name for c in CONTESTANTS)}")
    entries = [Entry(c, problem=f"not installed; {c.install}" if c.missing() else "") for c in chosen]
    job = {
        "data": str(args.data), "files": str(folder), "work": work, "batch_size": args.batch_size,
        "threads": args.threads,
    }  # fmt: skip
    compete(entries, job, rounds=args.rounds, starts=args.starts, seconds=args.seconds)
    print(f"\n{title}; medians of {args.rounds} rounds of {args.seconds} s")
    show(entries)
    picture(args.out / f"{work}.png", entries, title)
    return {"work": WORKS[work].title, "rounds": args.rounds, "results": [e.summary() for e in entries]}


def _conversion(args: argparse.Namespace, dataset: Dataset, folder: Path) -> dict[str, Any]:
    seconds = conversion(args.source, dataset, folder, args.threads, args.rounds)
    medians = {name: round(statistics.median(values), 1) for name, values in seconds.items()}
    print(f"\nconverting {dataset.count:,} images, seconds; medians of {args.rounds} rounds")
    for name, value in medians.items():
        print(f"{name:<34}{value:>10,.1f}")
    return {"medians_s": medians, "rounds_s": {n: [round(v, 2) for v in values] for n, values in seconds.items()}}


if __name__ == "__main__":
    sys.exit(main())
