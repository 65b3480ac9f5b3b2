"""python -m bench.scale: measures how cost grows with size.

plan     ids/s and memory of the plan's order, for 1e4 to 1e8 images
packs    a generated dataset larger than memory, read in random order and in blocks, cold and warm
batches  the cost per image, by number of threads and batch size
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import about, command
from bench.memory import resident_mib
from feedline import Dataset, Loader
from feedline.pipeline.augment import Augmentations, Flip, PadCrop
from feedline.pipeline.cores import available_cores
from feedline.pipeline.dataset import ClassInfo, PackWriter, Record, Split, write_index, write_meta
from feedline.pipeline.dataset.mapping import machine_memory
from feedline.pipeline.files import write_json
from feedline.pipeline.part import choose_split
from feedline.pipeline.plan import Plan
from feedline.pipeline.plan.permutation import BlockPermutation, Permutation
from feedline.training import plots
from feedline.training.bench import endless

SIDE = 64
IMAGE = SIDE * SIDE * 3


# plan


def _planner(count: int, kind: str) -> Callable[[int], int]:
    """Returns a function that plans the next ids from a given slot on and returns their number."""
    if kind == "plan":
        ids = np.broadcast_to(np.int64(0), (count,))  # any ids will do; this array takes no memory
        size = np.array([SIDE, SIDE])
        augment = Augmentations((SIDE, SIDE), PadCrop(4), Flip())
        plan = Plan(ids, lambda i: np.broadcast_to(size, (len(i), 2)), batch_size=256, augment=augment, shuffle=True)
        return lambda done: len(plan.batch(done // 256 // len(plan), done // 256 % len(plan)))
    order: Any = Permutation(count, seed=0, epoch=0)
    if kind == "blocks":
        order = BlockPermutation(count, block=256, group=64, seed=0, epoch=0)

    def plan_ids(done: int) -> int:
        first = done % max(count - 4096, 1)
        return len(order(np.arange(first, min(first + 4096, count), dtype=np.int64)))

    return plan_ids


def plan_alone(count: int, kind: str) -> None:
    """Prints ids/s and the peak memory of planning in MiB. Run in a separate process."""
    tracemalloc.start()
    plan_ids = _planner(count, kind)
    for number in range(50):
        plan_ids(number * 4096)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    speeds = []
    for _ in range(5):
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < 0.5:
            done += plan_ids(done)
        speeds.append(done / (time.perf_counter() - started))
    print(statistics.median(speeds), peak / 2**20)


def plan(args: argparse.Namespace) -> dict[str, Any]:
    rows = []
    print(f"{'images':>14}{'what':>9}{'ids/s':>14}{'memory':>12}")
    for count, kind in itertools.product((10**4, 10**6, 10**8), ("order", "blocks", "plan")):
        words = [sys.executable, "-m", "bench.scale", "plan-alone", "--count", str(count), "--kind", kind]
        out = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
        rows.append({"images": count, "kind": kind, "ids_per_s": round(float(out[0])), "mib": round(float(out[1]), 1)})
        print(f"{count:>14,}{kind:>9}{float(out[0]):>14,.0f}{float(out[1]):>8.1f} MiB")
    return {"results": rows}


# packs


def make_packs(folder: Path, gib: float) -> Dataset:
    """Writes a dataset folder with a raw pack of generated 64x64 images. The first 8 bytes of each are its id."""
    count = int(gib * 2**30) // IMAGE
    if (folder / "dataset.json").exists() and Dataset(folder).count == count:
        return Dataset(folder)
    pack = PackWriter(folder / "packs" / "raw")
    noise = np.random.default_rng(0).integers(0, 256, (4096, IMAGE), dtype=np.uint8)
    for image in range(count):
        pixels = noise[image % len(noise)]
        pixels[:8] = np.array([image], dtype=np.int64).view(np.uint8)
        pack.add(pixels.tobytes(), SIDE, SIDE)
    packs = {"raw": pack.close()}
    # Sorted by class, as a converted folder is.
    records = (Record(f"train/{i}", i * 200 // count, SIDE, SIDE, plain=False, checksum=0) for i in range(count))
    ids = np.arange(count, dtype=np.int64)
    write_index(folder, records, [Split("70-30", train=ids, val=ids[:1])])
    write_meta(
        folder, classes=[ClassInfo(i, str(i), str(i)) for i in range(200)], name="made-up", fingerprint="made-up",
        image_size=[SIDE, SIDE], count=count, mean=[0.5] * 3, std=[0.25] * 3, source={}, build={},
        splits={"70-30": {"train": count, "val": 1}}, findings={}, packs=packs,
    )  # fmt: skip
    os.sync()  # pages that are not on disk yet cannot be dropped from the page cache
    return Dataset(folder)


def drop_from_page_cache(folder: Path) -> None:
    """Asks the system to drop the pack from its page cache. The pack must not be mapped."""
    for path in sorted((folder / "packs" / "raw").glob("*.bin")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# Shuffles, as blocks per group x images per block.
SHUFFLES: dict[str, dict[str, Any]] = {"full": {}} | {
    f"{group} x {block}": {"shuffle": "blocks", "shuffle_block": block, "shuffle_group": group}
    for group, block in ((64, 256), (16, 256), (16, 1024))
}


def read_packs(folder: Path, shuffle: str, images: int, batch_size: int) -> dict[str, float]:
    """Reads this many images cold, then the same images again. Checks the id of every image."""
    drop_from_page_cache(folder)
    data = Dataset(folder)
    options: dict[str, Any] = {"dtype": torch.uint8, "augment": ("center",), "split": "70-30", "store": "raw"}
    loader = Loader(data, batch_size=batch_size, **SHUFFLES[shuffle], **options)
    row: dict[str, float] = {}
    batches = min(images // batch_size, len(loader))
    classes = []
    for state in ("cold", "warm"):
        loader.set_epoch(0)
        started, memory = time.perf_counter(), []
        for k, (pixels, labels) in enumerate(loader):
            ids = pixels.permute(0, 2, 3, 1).flatten(1)[:, :8].contiguous().numpy().view(np.int64)[:, 0]
            if not np.array_equal(data.labels[ids], labels.numpy()):
                raise RuntimeError(f"batch {k}: labels do not belong to its images")
            classes.append(len(set(labels.tolist())))
            if k % 64 == 0:
                memory.append(resident_mib())
            if k + 1 == batches:
                break
        row[f"{state}_images_per_s"] = round(batches * batch_size / (time.perf_counter() - started))
        row[f"{state}_memory_growth_mib"] = round(memory[-1] - memory[len(memory) // 4], 1)
    row["classes_in_a_batch"] = round(statistics.mean(classes), 1)
    loader.close()
    return row


def packs(args: argparse.Namespace) -> dict[str, Any]:
    data = make_packs(args.folder, args.gib)
    total = machine_memory() / 2**30
    print(f"{data.count:,} images, {data.count * IMAGE / 2**30:.1f} GiB; this machine has {total:.1f} GiB of memory")
    print(f"{'shuffle':<10}{'cold':>12}{'warm':>12}{'memory growth':>16}{'classes in a batch':>20}")
    rows = []
    for number, shuffle in itertools.product(range(args.rounds), SHUFFLES):
        row = {"round": number, "shuffle": shuffle, **read_packs(args.folder, shuffle, args.images, 256)}
        rows.append(row)
        print(
            f"{shuffle:<10}{row['cold_images_per_s']:>10,}/s{row['warm_images_per_s']:>10,}/s"
            f"{row['cold_memory_growth_mib']:>12.1f} MiB{row['classes_in_a_batch']:>20.1f}"
        )
    return {"gib": round(data.count * IMAGE / 2**30, 2), "memory_gib": round(total, 1), "results": rows}


# batches


def batches(args: argparse.Namespace) -> dict[str, Any]:
    """Measures every number of threads and batch size with the stores jpeg and raw, in interleaved rounds."""
    data = Dataset(args.data)
    split = choose_split(data, "auto")
    threads = [n for n in (1, 2, 4, 8, 16) if n <= available_cores()]
    sizes = [n for n in (32, 64, 128, 256, 512, 1024, 2048) if n <= data.splits[split]["train"]]
    costs: dict[tuple[str, int, int], list[float]] = {}
    for _ in range(args.rounds):
        for key in itertools.product(("jpeg", "raw"), threads, sizes):
            store: Any = key[0]
            loader = Loader(data, split=split, store=store, threads=key[1], batch_size=key[2])
            stream = endless(loader)
            for _ in range(max(2048 // key[2], 6)):
                next(stream)
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < args.seconds:
                done += len(next(stream)[1])
            costs.setdefault(key, []).append((time.perf_counter() - started) / done * 1e6)
            loader.close()
    medians = {key: statistics.median(values) for key, values in costs.items()}
    lines = {
        f"{store}, {n} thread{'s' * (n > 1)}": [(size, medians[store, n, size]) for size in sizes]
        for store, n in itertools.product(("jpeg", "raw"), threads)
    }
    title = f"{data.name}: pad-and-crop, flip, normalise, float32"
    _plot(args.out / "batches.png", lines, "batch size", "microseconds per image", title)
    for name, points in lines.items():
        print(f"{name:<18}" + "".join(f"{size:>7}:{cost:6.1f} us" for size, cost in points))
    rows = [
        {"store": s, "threads": n, "batch_size": b, "us_per_image": round(v, 2)} for (s, n, b), v in medians.items()
    ]
    return {"rounds": args.rounds, "results": rows}


def _plot(path: Path, lines: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str, title: str) -> None:
    """Lines on two logarithmic axes.

    Args:
        path: the PNG to write.
        lines: (x, y) points by name.
        xlabel, ylabel, title: texts of the plot.
    """
    figure, (axis,) = plots.new_figure(1, title)
    for name, points in lines.items():
        x, y = zip(*points, strict=True)
        axis.plot(x, y, "o-", ms=4, label=name)
    ticks = sorted({x for points in lines.values() for x, _ in points})
    axis.set(xscale="log", yscale="log", xlabel=xlabel, ylabel=ylabel)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    heights = [y for points in lines.values() for _, y in points]
    y_ticks = [
        m * 10.0**e for e in range(-1, 6) for m in (1, 2, 3, 5) if min(heights) * 0.7 < m * 10**e < max(heights) * 1.4
    ]
    axis.set_yticks(y_ticks, [f"{tick:g}" for tick in y_ticks])
    axis.minorticks_off()
    axis.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
    plots.save(figure, path)


@command("bench.scale")
def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.split("\n")[0].split(": ", 1)[1])
    p.add_argument("what", choices=["plan", "packs", "batches", "plan-alone"])
    p.add_argument("--out", type=Path, default=Path("runs/scale"), help="where results go (runs/scale)")
    p.add_argument("--rounds", type=int, default=3, help="packs, batches: rounds (3)")
    p.add_argument("--seconds", type=float, default=1.0, help="batches: length of a measurement (1)")
    p.add_argument("--data", type=Path, default=Path("data/tiny-imagenet"), help="batches: dataset folder")
    p.add_argument("--folder", type=Path, default=Path("data/made-up"), help="packs: folder for the generated dataset")
    p.add_argument("--gib", type=float, default=26.0, help="packs: its size (26)")
    p.add_argument("--images", type=int, default=200_000, help="packs: images read a round (200,000)")
    p.add_argument("--count", type=int, help=argparse.SUPPRESS)
    p.add_argument("--kind", help=argparse.SUPPRESS)
    args = p.parse_args(argv)
    if args.what == "plan-alone":
        plan_alone(args.count, args.kind)
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    results = {"plan": plan, "packs": packs, "batches": batches}[args.what](args)
    write_json(args.out / f"{args.what}.json", {**about("bench.scale", argv), **results})
    return 0


if __name__ == "__main__":
    sys.exit(main())
