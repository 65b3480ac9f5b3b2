"""python -m bench.scale: what size costs. Three measurements, each a word on the command line:

plan     ids/s and memory of the plan's order, from 1e4 to 1e8 images
packs    a made-up dataset larger than memory, read in random order and in blocks, cold and warm
batches  the cost of an image as threads and batch sizes grow
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.memory import held_mib
from feedline import Dataset, Loader
from feedline.pipeline.augment import Augmentations, Flip, PadCrop
from feedline.pipeline.dataset import ClassInfo, PackWriter, Record, Split, write_index, write_meta
from feedline.pipeline.dataset.mapping import machine_memory
from feedline.pipeline.errors import FeedlineError, as_flags
from feedline.pipeline.files import write_json
from feedline.pipeline.plan import Plan
from feedline.pipeline.plan.permutation import BlockPermutation, Permutation
from feedline.training import plots
from feedline.training.meter import hardware, versions

SIDE = 64
IMAGE = SIDE * SIDE * 3


# plan


def _planner(count: int, kind: str) -> Callable[[int], int]:
    """Something that plans the next ids from a place on, and says how many."""
    if kind == "plan":
        ids = np.broadcast_to(np.int64(0), (count,))  # what is planned does not matter here, only that it is not held
        size = np.array([SIDE, SIDE])
        augment = Augmentations((SIDE, SIDE), PadCrop(4), Flip())
        plan = Plan(ids, lambda i: np.broadcast_to(size, (len(i), 2)), batch_size=256, augment=augment, shuffle=True)
        return lambda done: len(plan.batch(done // 256 // len(plan), done // 256 % len(plan)))
    order: Any = Permutation(count, seed=0, epoch=0)
    if kind == "blocks":
        order = BlockPermutation(count, block=256, group=64, seed=0, epoch=0)

    def some(done: int) -> int:
        first = done % max(count - 4096, 1)
        return len(order(np.arange(first, min(first + 4096, count), dtype=np.int64)))

    return some


def plan_alone(count: int, kind: str) -> None:
    """In a process of its own: prints ids/s and the most memory that planning held, in MiB."""
    tracemalloc.start()
    some = _planner(count, kind)
    for number in range(50):
        some(number * 4096)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    speeds = []
    for _ in range(5):
        done, begun = 0, time.perf_counter()
        while time.perf_counter() - begun < 0.5:
            done += some(done)
        speeds.append(done / (time.perf_counter() - begun))
    print(statistics.median(speeds), most / 2**20)


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
    """Writes a dataset folder with a raw pack of made-up 64x64 images, each beginning with its own id."""
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
    # Sorted by class, as folders are.
    records = (Record(f"train/{i}", i * 200 // count, SIDE, SIDE, plain=False) for i in range(count))
    ids = np.arange(count, dtype=np.int64)
    write_index(folder, records, [Split("70-30", train=ids, val=ids[:1])])
    write_meta(
        folder, classes=[ClassInfo(i, str(i), str(i)) for i in range(200)], name="made-up", fingerprint="made-up",
        image_size=[SIDE, SIDE], count=count, mean=[0.5] * 3, std=[0.25] * 3, source={}, build={},
        splits={"70-30": {"train": count, "val": 1}}, findings={}, packs=packs,
    )  # fmt: skip
    os.sync()  # what is not on disk yet could not be dropped from the page cache
    return Dataset(folder)


def forget(folder: Path) -> None:
    """Asks the system to drop the pack from its page cache. Nothing may have it mapped."""
    for path in sorted((folder / "packs" / "raw").glob("*.bin")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# Ways to shuffle: blocks in a group x images in a block.
SHUFFLES: dict[str, dict[str, Any]] = {"full": {}} | {
    f"{group} x {block}": {"shuffle": "blocks", "shuffle_block": block, "shuffle_group": group}
    for group, block in ((64, 256), (16, 256), (16, 1024))
}


def read_packs(folder: Path, shuffle: str, images: int, batch_size: int) -> dict[str, float]:
    """Reads so many images, twice: cold, then the same again. Every image's id is checked."""
    forget(folder)
    data = Dataset(folder)
    options: dict[str, Any] = {"dtype": torch.uint8, "augment": ("center",), "split": "70-30", "store": "raw"}
    loader = Loader(data, batch_size=batch_size, **SHUFFLES[shuffle], **options)
    found: dict[str, float] = {}
    batches = images // batch_size
    classes = []
    for state in ("cold", "warm"):
        loader.set_epoch(0)
        begun, memory = time.perf_counter(), []
        for k, (pixels, labels) in enumerate(loader):
            ids = pixels.permute(0, 2, 3, 1).flatten(1)[:, :8].contiguous().numpy().view(np.int64)[:, 0]
            if not np.array_equal(data.labels[ids], labels.numpy()):
                raise RuntimeError(f"batch {k} holds other images than it says")
            classes.append(len(set(labels.tolist())))
            if k % 64 == 0:
                memory.append(held_mib())
            if k + 1 == batches:
                break
        found[f"{state}_images_per_s"] = round(batches * batch_size / (time.perf_counter() - begun))
        found[f"{state}_memory_growth_mib"] = round(memory[-1] - memory[len(memory) // 4], 1)
    found["classes_in_a_batch"] = round(statistics.mean(classes), 1)
    loader.close()
    return found


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
    """Interleaved rounds of every number of threads and batch size, for the stores jpeg and raw."""
    data = Dataset(args.data)
    split = "official" if "official" in data.splits else "70-30"
    threads = [n for n in (1, 2, 4, 8, 16) if n <= (os.cpu_count() or 1)]
    sizes = [n for n in (32, 64, 128, 256, 512, 1024, 2048) if n <= data.splits[split]["train"]]
    costs: dict[tuple[str, int, int], list[float]] = {}
    for _ in range(args.rounds):
        for key in itertools.product(("jpeg", "raw"), threads, sizes):
            store: Any = key[0]
            loader = Loader(data, split=split, store=store, threads=key[1], batch_size=key[2])
            stream = itertools.chain.from_iterable(itertools.repeat(loader))
            for _ in range(max(2048 // key[2], 6)):
                next(stream)
            done, begun = 0, time.perf_counter()
            while time.perf_counter() - begun < args.seconds:
                done += len(next(stream)[1])
            costs.setdefault(key, []).append((time.perf_counter() - begun) / done * 1e6)
            loader.close()
    medians = {key: statistics.median(values) for key, values in costs.items()}
    lines = {
        f"{store}, {n} thread{'s' * (n > 1)}": [(size, medians[store, n, size]) for size in sizes]
        for store, n in itertools.product(("jpeg", "raw"), threads)
    }
    title = f"{data.name}: pad-and-crop, flip, normalise, float32"
    plots.loglog(args.out / "batches.png", lines, "images in a batch", "microseconds an image", title)
    for name, points in lines.items():
        print(f"{name:<18}" + "".join(f"{size:>7}:{cost:6.1f} us" for size, cost in points))
    rows = [
        {"store": s, "threads": n, "batch_size": b, "us_per_image": round(v, 2)} for (s, n, b), v in medians.items()
    ]
    return {"rounds": args.rounds, "results": rows}


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.split("\n")[0].split(": ", 1)[1])
    p.add_argument("what", choices=["plan", "packs", "batches", "plan-alone"])
    p.add_argument("--out", type=Path, default=Path("runs/scale"), help="where results go (runs/scale)")
    p.add_argument("--rounds", type=int, default=3, help="rounds of packs and batches (3)")
    p.add_argument("--seconds", type=float, default=1.0, help="batches: length of a measurement (1)")
    p.add_argument("--data", type=Path, default=Path("data/tiny-imagenet"), help="batches: dataset folder")
    p.add_argument("--folder", type=Path, default=Path("data/made-up"), help="packs: where the made-up dataset goes")
    p.add_argument("--gib", type=float, default=26.0, help="packs: its size (26)")
    p.add_argument("--images", type=int, default=200_000, help="packs: images read a round (200,000)")
    p.add_argument("--count", type=int, help=argparse.SUPPRESS)
    p.add_argument("--kind", help=argparse.SUPPRESS)
    args = p.parse_args(argv)
    if args.what == "plan-alone":
        plan_alone(args.count, args.kind)
        return 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        found = {"plan": plan, "packs": packs, "batches": batches}[args.what](args)
    except FeedlineError as error:
        print(f"bench.scale: {as_flags(error)}", file=sys.stderr)
        return 2
    command = "python -m bench.scale " + " ".join(sys.argv[1:] if argv is None else argv)
    where = hardware(torch.device("cpu"))
    write_json(args.out / f"{args.what}.json", {"command": command, "hardware": where, "versions": versions(), **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
