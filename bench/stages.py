"""python -m bench.stages: the CPU time of each stage of making a batch.

Each stage of the torch engine is timed alone on one thread. DALI's graph is timed with one operator more each time.
Results are CPU microseconds per image, medians of interleaved rounds.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.common import about, command
from bench.peers.files import warm
from feedline import Dataset, InputError, Loader
from feedline.pipeline import compiled
from feedline.pipeline.buffers import aligned
from feedline.pipeline.cropper import Cropper
from feedline.pipeline.engines import dali
from feedline.pipeline.files import write_json
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import FilesStore, JpegStore, RawStore

Stage = Callable[[PlanBatch], Any]


def torch_stages(data: Dataset, split: str, batch_size: int) -> dict[str, Stage]:
    """The torch engine's stages by name."""
    size = data.image_size
    if size is None:
        raise InputError(f"{data.root}: its images differ in size; this measurement needs images of one size")
    files, jpeg, raw = FilesStore(data), JpegStore(data), RawStore(data)
    plan = Loader(data, split=split, store="raw", engine="torch", batch_size=batch_size).plan
    images, out = aligned((batch_size, *size, 3), np.uint8), aligned((batch_size, *size, 3), np.float32)
    cut, normalise = Cropper(size), Cropper(size, IMAGENET_MEAN, IMAGENET_STD)
    slots = itertools.count()

    def plan_next(_: PlanBatch) -> None:
        epoch, k = divmod(next(slots), len(plan))
        plan.batch(epoch, k)

    def without_kernels(batch: PlanBatch) -> None:
        kernels, compiled.kernels = compiled.kernels, None
        try:
            raw.cut(batch, normalise, out)
        finally:
            compiled.kernels = kernels

    return {
        "plan: order, windows, flips": plan_next,
        "files: open, read, close": lambda batch: files.read(batch.ids),
        "files: the same and decode": lambda batch: files.gather(batch.ids, images),
        "jpeg: find in the pack": lambda batch: jpeg.read(batch.ids),
        "jpeg: the same and decode": lambda batch: jpeg.gather(batch.ids, images),
        "raw: gather from the pack": lambda batch: raw.gather(batch.ids, images),
        "raw: the same, crop and mirror": lambda batch: raw.cut(batch, cut, images),
        "raw: the same, crop, mirror, normalise": lambda batch: raw.cut(batch, normalise, out),
        "raw: all of that by numpy and torch": without_kernels,
        "labels": lambda batch: data.labels.take(batch.ids).astype(np.int64),
    }


def dali_stages(data: Dataset, split: str) -> dict[str, Stage]:
    """DALI's graph, cut off after each operator; empty if DALI is not installed."""
    if dali.problem():
        return {}
    from nvidia.dali import fn, pipeline_def, types

    jpeg, raw = data.pack("jpeg"), data.pack("raw")

    @pipeline_def(batch_size=256, num_threads=1, device_id=None, prefetch_queue_depth=1)
    def graph(encoded: bool, operators: int) -> Any:
        images = fn.external_source(name="images", no_copy=True, layout=None if encoded else "HWC")
        start, flip = fn.external_source(name="start"), fn.external_source(name="flip")
        if encoded:
            images = fn.decoders.image(images, output_type=types.RGB, jpeg_fancy_upsampling=True)
        if operators > 0:
            shape = list(data.image_size or ())
            images = fn.slice(images, start=start, shape=shape, axes=(0, 1), out_of_bounds_policy="pad")
        if operators > 1:
            images = fn.crop_mirror_normalize(
                images,
                mirror=flip,
                mean=[255 * v for v in IMAGENET_MEAN],
                std=[255 * v for v in IMAGENET_STD],
                dtype=types.FLOAT,
                output_layout="HWC",
            )
        return images, start, flip  # DALI removes inputs that nothing uses

    def stage(encoded: bool, operators: int) -> Stage:
        pipe = graph(encoded, operators, exec_dynamic=True)
        pipe.build()

        def run(batch: PlanBatch) -> None:
            pipe.feed_input("images", jpeg.encoded(batch.ids) if encoded else raw.pixels(batch.ids))
            pipe.feed_input("start", np.ascontiguousarray(batch.window[:, :2]))
            pipe.feed_input("flip", batch.flip.astype(np.int32))
            pipe.run()

        return run

    return {
        "DALI: feed raw images": stage(False, 0),
        "DALI: feed raw, slice": stage(False, 1),
        "DALI: feed raw, slice, normalise": stage(False, 2),
        "DALI: feed jpeg, decode": stage(True, 0),
        "DALI: feed jpeg, decode, slice, normalise": stage(True, 2),
    }


@command("bench.stages")
def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(prog="python -m bench.stages", description="Time the stages of a batch on the CPU.")
    p.add_argument("--data", type=Path, default=Path("data/tiny-imagenet"), help="dataset folder with both packs")
    p.add_argument("--out", type=Path, default=Path("runs/stages"), help="where results go (runs/stages)")
    p.add_argument("--rounds", type=int, default=7, help="interleaved rounds (7)")
    p.add_argument("--batches", type=int, default=40, help="batches of 256 per round (40)")
    args = p.parse_args(argv)
    data = Dataset(args.data)
    split = next(iter(data.splits))
    batch_size = min(256, data.splits[split]["train"])
    warm([data.root])
    stages = torch_stages(data, split, batch_size) | dali_stages(data, split)
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    planner = Loader(data, split=split, store="raw", engine="torch", batch_size=batch_size)
    times: dict[str, list[float]] = {name: [] for name in stages}
    for number in range(args.rounds + 1):
        for name, stage in stages.items():
            batches = [planner.plan.batch(number, k % len(planner)) for k in range(args.batches)]
            started = time.process_time()
            for batch in batches:
                stage(batch)
            times[name].append((time.process_time() - started) / sum(map(len, batches)) * 1e6)
    torch.set_num_threads(torch_threads)
    medians = {
        name: round(statistics.median(values[1:]), 2) for name, values in times.items()
    }  # the first round warms up
    for name, value in medians.items():
        print(f"{name:<44}{value:>8.2f} us")
    args.out.mkdir(parents=True, exist_ok=True)
    content = {**about("bench.stages", argv), "cpu_us_per_image": medians, "rounds": args.rounds}
    write_json(args.out / "stages.json", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
