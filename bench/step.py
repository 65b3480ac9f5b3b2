"""A training step on a CPU: with our kernels, with torch's operations, and compiled.

    python -m bench.step --sizes 24,32,48 --batch-size 128

The same network, weights and batch in bfloat16; interleaved rounds of one step each, forward, backward and SGD.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from bench.common import about, markdown
from feedline.model import compiled, resnet18
from feedline.pipeline.files import write_json
from feedline.training.heap import keep_freed_memory

CLASSES = 200


@contextmanager
def without_kernels() -> Iterator[None]:
    """torch's operations do the work of the kernels."""
    kernels, compiled.kernels = compiled.kernels, None
    try:
        yield
    finally:
        compiled.kernels = kernels


def make_step(size: int, batch_size: int, *, compile: bool) -> Callable[[], None]:
    """Returns a function that does one step on random images."""
    model = resnet18(CLASSES).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(batch_size, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch_size,))
    forward = torch.compile(model, dynamic=False) if compile else model

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(forward(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def measure(size: int, batch_size: int, rounds: int, *, compile: bool) -> dict[str, Any]:
    """Seconds per step of each way, one figure a round."""
    eager = make_step(size, batch_size, compile=False)
    ways: dict[str, Callable[[], None]] = {"kernels": eager, "torch": functools.partial(_plain, eager)}
    if compile:
        ways["compiled"] = make_step(size, batch_size, compile=True)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, step in ways.items():
            start = time.perf_counter()
            step()
            if number > 1:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    return {"size": size, "images_per_s": {n: _summary(batch_size, values) for n, values in seconds.items()}}


def _plain(step: Callable[[], None]) -> None:
    with without_kernels():
        step()


def _summary(batch_size: int, seconds: list[float]) -> dict[str, float]:
    speeds = sorted(batch_size / value for value in seconds)
    return {
        "median": round(statistics.median(speeds), 1),
        "lowest": round(speeds[0], 1),
        "highest": round(speeds[-1], 1),
    }


def table(rows: list[Mapping[str, Any]]) -> str:
    """Markdown: one row a size, medians, and how much faster the kernels are."""
    names, cells = list(rows[0]["images_per_s"]), []
    for row in rows:
        medians = [row["images_per_s"][name]["median"] for name in names]
        cells.append([str(row["size"]), *(f"{value:,.0f}" for value in medians), f"{medians[0] / medians[1]:.2f}"])
    return markdown(["side", *names, "kernels / torch"], cells)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.step", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="24,32,40,48,64", help="sides of the input in pixels")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile too")
    parser.add_argument("--heap", choices=("kept", "default"), default="kept", help="kept: as the trainer sets it up")
    parser.add_argument("--out", type=Path, default=Path("runs/step"))
    args = parser.parse_args(argv)
    if compiled.kernels is None:
        parser.exit(2, "the kernels are not compiled here: install a C compiler, then again: pip install -e .\n")
    if args.heap == "kept":
        keep_freed_memory()
    rows: list[Mapping[str, Any]] = []
    for size in map(int, args.sizes.split(",")):
        rows.append(measure(size, args.batch_size, args.rounds, compile=args.compile))
        print(table(rows[-1:]).splitlines()[-1] if len(rows) > 1 else table(rows), flush=True)
    settings = {"batch_size": args.batch_size, "rounds": args.rounds, "heap": args.heap}
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "step.json", {**about("bench.step", argv), **settings, "rows": rows})


if __name__ == "__main__":
    main()
