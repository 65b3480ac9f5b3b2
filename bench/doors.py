"""python -m bench.doors: what a loader's options cost, beside the plain loader.

Every option is measured in each round, from each store, one after another; reported are medians and their ratio to the
plain loader of the same store. `earlier` measures another checkout too, to see what a change cost.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import about, command
from feedline import Dataset, Loader
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import write_json
from feedline.training.bench import endless

STORES = ("raw", "jpeg")
RANDOM_CROP = ["random-resized-crop:scale=0.25-1", "flip"]
Options = dict[str, Any]

# Options by name, made for a dataset, and the row that each is compared with.
DOORS: dict[str, tuple[Callable[[Dataset], Options], str]] = {
    "plain": (lambda _: {}, "plain"),
    "plain, uint8": (lambda _: {"dtype": torch.uint8}, "plain, uint8"),
    "with_ids": (lambda _: {"with_ids": True}, "plain"),
    "targets [N, 10]": (lambda data: {"targets": np.zeros((data.count, 10), dtype=np.float32)}, "plain"),
    "weights": (lambda data: {"weights": np.ones(data.count)}, "plain"),
    "transform": (lambda _: {"transform": lambda images, labels: (images, labels)}, "plain"),
    "views=2": (lambda _: {"views": 2}, "plain"),
    "views=2, uint8": (lambda _: {"views": 2, "dtype": torch.uint8}, "plain, uint8"),
    "random-resized-crop": (lambda _: {"augment": RANDOM_CROP}, "random-resized-crop"),
    "random-resized-crop, views=2": (lambda _: {"augment": RANDOM_CROP, "views": 2}, "random-resized-crop"),
}


def images_per_s(loader: Loader, seconds: float) -> float:
    """Images a second over whole batches, after a warm-up that uses up what was made ahead."""
    stream = endless(loader)
    for _ in range(24):
        next(stream)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        next(stream)
        done += loader.batch_size
    return done / (time.perf_counter() - started)


def measure(data: Path, doors: Sequence[str], seconds: float) -> dict[str, float]:
    """One round: images a second by `store, door`."""
    dataset = Dataset(data)
    row = {}
    for store, door in itertools.product(STORES, doors):
        loader = Loader(dataset, store=store, **DOORS[door][0](dataset))  # type: ignore[arg-type]
        row[f"{store}, {door}"] = images_per_s(loader, seconds)
        loader.close()
    return row


def in_checkout(root: Path, data: Path, doors: Sequence[str], seconds: float) -> dict[str, float]:
    """One round in a separate process, with the code of a checkout whose kernels are compiled."""
    call = (
        f"import json; from bench import doors; print(json.dumps(doors.measure({str(data)!r}, {doors!r}, {seconds})))"
    )
    paths = f"sys.path[:0] = [{str(root)!r}]; import feedline; sys.path[:0] = [{str(Path.cwd())!r}]"
    program = f"import sys; {paths}; {call}"
    try:
        ran = subprocess.run([sys.executable, "-c", program], cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    except OSError as error:
        raise InputError(f"{root}: is no checkout ({error.strerror})") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"{root}: the measurement failed with exit status {error.returncode}; see above") from error
    return dict(json.loads(ran.stdout.splitlines()[-1]))


@command("bench.doors")
def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m bench.doors", description="What a loader's options cost.")
    p.add_argument("--data", type=Path, default=Path("data/tiny-imagenet"), help="dataset folder")
    p.add_argument("--out", type=Path, default=Path("runs/doors"), help="where results go (runs/doors)")
    p.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    p.add_argument("--seconds", type=float, default=1.0, help="length of a measurement (1)")
    p.add_argument("--earlier", type=Path, help="another checkout, compiled, that is measured beside this one")
    args = p.parse_args(argv)
    rounds: dict[str, list[float]] = {}
    if missing := [store for store in STORES if store not in Dataset(args.data).packs]:
        raise InputError(f"`data={args.data}`: has no {missing[0]} pack; build it with --packs {','.join(STORES)}")
    for _ in range(args.rounds):
        row = in_checkout(Path.cwd(), args.data.resolve(), list(DOORS), args.seconds)
        if args.earlier:
            plain = [name for name, (_, other) in DOORS.items() if name == other]
            earlier = in_checkout(args.earlier.resolve(), args.data.resolve(), plain, args.seconds)
            row |= {f"{name}, earlier": value for name, value in earlier.items()}
        for name, value in row.items():
            rounds.setdefault(name, []).append(value)
    content = {**about("bench.doors", argv), "rounds": args.rounds, "results": report(rounds)}
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / "doors.json", content)
    return 0


def report(rounds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Prints and returns a row for each door: its median, and its time / that of the row it is compared with."""
    results = []
    print(f"{'store, option':<40}{'images/s':>12}{'time':>8}")
    for name, values in rounds.items():
        store, _, door = name.partition(", ")
        other = f"{store}, {DOORS[door.removesuffix(', earlier')][1]}"
        ratios = [b / a for a, b in zip(values, rounds[other], strict=True)]
        row = {
            "store": store,
            "option": door,
            "images_per_s": round(statistics.median(values)),
            "time": round(statistics.median(ratios), 3),
            "compared_with": other,
        }
        results.append(row)
        print(f"{name:<40}{row['images_per_s']:>12,}{row['time']:>7.2f}x")
    return results


if __name__ == "__main__":
    sys.exit(main())
