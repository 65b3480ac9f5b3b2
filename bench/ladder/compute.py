"""The rungs compute, together and assignment-scale: the model alone, with the loader, and both at 224 pixels."""

import functools
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from bench.ladder.feed import loader_speed
from bench.ladder.measure import FORWARD_GFLOP, matmul_tflops, memory_gb_per_s, seconds_per_call
from bench.ladder.settings import Settings
from feedline import Dataset
from feedline.cli.build import batch_dtype, make_loader
from feedline.model import resnet18
from feedline.pipeline.engines.choose import choose_engine
from feedline.pipeline.engines.types import ENGINES
from feedline.pipeline.stores import stores_on
from feedline.training.bench import LoopStep
from feedline.training.bench import measure as measure_rounds
from feedline.training.config import Config
from feedline.training.step import TrainStep

DTYPES: dict[str, dict[str, object]] = {
    "float32": {"amp": False},
    "bf16": {"amp": True, "amp_dtype": "bf16"},
    "fp16": {"amp": True, "amp_dtype": "fp16"},
}
COMPILED: dict[str, dict[str, object]] = {
    "eager": {"compile": False},
    "default": {"compile": True, "compile_mode": "default"},
    "reduce-overhead": {"compile": True, "compile_mode": "reduce-overhead"},
    "max-autotune": {"compile": True, "compile_mode": "max-autotune"},
}


def _model_alone(config: Config, device: torch.device, classes: int, size: int, seconds: float) -> dict[str, Any]:
    """Speed of the training loop's steps on one batch that is already on the device."""
    torch.manual_seed(0)
    batch = config.loader.batch_size
    layout = torch.channels_last if config.run.channels_last else torch.contiguous_format
    images = torch.randn(batch, 3, size, size, device=device, dtype=batch_dtype(config, device))
    images = images.to(memory_format=layout)
    labels = torch.randint(classes, (batch,), device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    step = LoopStep(config, TrainStep(config, resnet18(classes), device, 0.01), device)
    step_seconds = seconds_per_call(lambda: step(images, labels), device, seconds=seconds)
    tflops = 3 * FORWARD_GFLOP * (size / 64) ** 2 * batch / step_seconds / 1e3
    row = {"images_per_s": batch / step_seconds, "tflops": tflops}
    if device.type == "cuda":
        row["gpu_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return row


def _matmul(device: torch.device, dtype: torch.dtype, seconds: float) -> dict[str, Any]:
    return {"tflops": matmul_tflops(device, dtype, seconds)}


def combinations(settings: Settings) -> Iterator[dict[str, Any]]:
    """The combinations to try. The likely best come first, in case the time runs out."""
    gpu = settings.on.type == "cuda"
    sizes = [16] if settings.tiny else [256, 512, 1024, 2048, 128] if gpu else [64, 256]
    modes = list(COMPILED) if gpu else ["eager"]
    dtypes = ["bf16", "fp16", "float32"] if gpu else ["bf16", "float32"]
    seen = []
    quick = [mode for mode in modes if mode != "max-autotune"]  # which may take the time of all others
    first = [(sizes[0], dtypes[0], True, mode) for mode in quick]
    first += [(size, dtypes[0], True, modes[0]) for size in sizes]
    rest = [
        (size, dtype, last, mode)
        for mode in [*quick, *(mode for mode in modes if mode not in quick)]  # compiling takes longest
        for size, dtype, last in itertools.product(sizes, dtypes, (True, False))
    ]
    for batch, dtype, last, mode in [*first, *rest]:
        if (key := (batch, dtype, last, mode)) not in seen:
            seen.append(key)
            yield {"batch_size": batch, "dtype": dtype, "channels_last": last, "compile": mode}


def changes(row: dict[str, Any]) -> dict[str, Any]:
    """The configuration values of a row."""
    copied = {key: row[key] for key in ("batch_size", "channels_last")}
    return {**copied, **DTYPES[row["dtype"]], **COMPILED[row["compile"]]}


def run_compute(settings: Settings) -> None:
    """Images/s of every combination, the best one, and its share of the device's peak matrix product."""
    report, device, dataset = settings.report("compute"), settings.on, Dataset(settings.data)
    size = settings.side(dataset)
    products = [
        report.row(partial(_matmul, device, dtype, settings.seconds), ceiling=f"matmul, {name}")
        for name, dtype in (("bf16", torch.bfloat16), ("float32", torch.float32))
    ]
    report.row(lambda: {"GB_per_s": memory_gb_per_s(device, settings.seconds)}, ceiling="memory, copy")
    rows = []
    for combination in combinations(settings):
        config = settings.config(**changes(combination))
        measured = report.row(
            partial(_model_alone, config, device, len(dataset.classes), size, settings.seconds),
            **combination,
        )
        torch._dynamo.reset()
        if measured:
            rows.append(measured)
            report.content["best"] = max(rows, key=lambda row: row["images_per_s"])
            report.write()
    ceiling = products[0]
    shares = {"share_of_matmul": report.content["best"]["tflops"] / ceiling["tflops"]} if rows and ceiling else {}
    report.close(**shares)


def run_together(settings: Settings) -> None:
    """Training end to end, compared with the model alone, in interleaved rounds.

    From every store; on a GPU with both engines, and compiled in two ways. What is likely fastest comes first.
    """
    report, device, dataset = settings.report("together"), settings.on, Dataset(settings.data)
    gpu, usual = device.type == "cuda", choose_engine(device)
    engines = sorted(ENGINES, key=lambda name: name != usual) if gpu else [usual]
    modes = ["default", "reduce-overhead"] if gpu else ["eager"]

    @functools.cache  # compiled once
    def step(mode: str) -> LoopStep:
        config = settings.config(amp=True, **COMPILED[mode])
        return LoopStep(config, TrainStep(config, resnet18(len(dataset.classes)), device, 0.01), device)

    for engine, mode, store in itertools.product(engines, modes, reversed(stores_on(device))):
        config = settings.config(amp=True, store=store, engine=engine)
        measure = partial(_together, config, f"{store} {engine}", dataset, partial(step, mode), settings)
        report.row(measure, store=store, engine=engine, compile=mode, cores=settings.cores)
    report.close(goal="share_of_model of at least 0.97 with jpeg, raw and resident")


def _together(
    config: Config, name: str, dataset: Dataset, step: Callable[[], LoopStep], settings: Settings
) -> dict[str, Any]:
    loaders = {name: make_loader(config, dataset, "train", settings.on)}
    rounds = 2 if settings.tiny else 5
    alone, model, both = measure_rounds(loaders, name, step(), rounds=rounds, seconds=settings.seconds)
    cpu_us = alone.summary()["cpu_us_per_image"]
    return {
        "loader": alone.median,
        "model": model.median,
        "together": both.median,
        "share_of_model": both.median / model.median,
        "stall": both.summary()["stall"],
        "cpu_us_per_image": cpu_us,
        "cores_needed": cpu_us * model.median / 1e6,
    }


def run_large(settings: Settings) -> None:
    """Model and loader at 224 pixels, the input size in the assignment's model summary."""
    report, device, dataset = settings.report("assignment-scale"), settings.on, Dataset(settings.data)
    size = 32 if settings.tiny else 224
    gpu = device.type == "cuda"
    sizes = [8] if settings.tiny else [256, 128, 64] if gpu else [16]
    for batch, dtype in itertools.product(sizes, ["bf16", "float32"]):
        config = settings.config(batch_size=batch, image_size=size, **DTYPES[dtype])
        report.row(
            partial(_model_alone, config, device, len(dataset.classes), size, settings.seconds),
            what="model", batch_size=batch, dtype=dtype, pixels=size,
        )  # fmt: skip
    for store in stores_on(device):
        config = settings.config(batch_size=16 if settings.tiny else 64, image_size=size, store=store, amp=gpu)
        report.row(
            partial(loader_speed, config, dataset, settings),
            what="loader", store=store, engine=choose_engine(device), pixels=size,
        )  # fmt: skip
    report.close()
