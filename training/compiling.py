"""What a run does once to make its steps faster: compiling the network, and searching for convolutions."""

import contextlib
import dataclasses
import importlib.util
import logging
import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from torch.distributed import ReduceOp

from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.training.config import Config
from feedline.training.ranks import ALONE, Ranks

logger = logging.getLogger(__name__)

CompileMode = Literal["default", "reduce-overhead", "max-autotune"]
# With ResNet18 on an H100 (bf16, batches of 256, 64x64) a compiled step takes 12.5 ms instead of 17.3, so that 5,000 of
# them save 24 seconds. Compiling took 4 to 7 where torch had the code from earlier runs; the first time is not known.
FEWEST_STEPS = 5_000
# cuDNN's search took 3 to 4 s for each size of the images on an H100 (ResNet18, bf16, 256 images of 32 to 48 pixels),
# whatever its limit; without one such a first step took 0.11 s, and later ones took no longer (docs/gpu.md). In 2,000
# steps of 12 ms it pays if it makes them 14 % faster.
FEWEST_TO_SEARCH = 2_000


def with_compile(config: Config, train: Loader, before: Config | None = None, ranks: Ranks = ALONE) -> Config:
    """The configuration with `compile` as True or False, and how. Every rank must call it: all ranks get the same.

    Args:
        config: of the run.
        train: the loader of its train part.
        before: of the checkpoint that the run is resumed from.
        ranks: the processes of the run.
    """
    kept = None if before is None else bool(before.run.compile)
    steps, lacking = len(train) * config.optim.epochs, missing(train.device)
    compiles = decide(config, train.device, steps, possible=lacking is None, before=kept)
    if lacking and not compiles and decide(config, train.device, steps, before=kept):
        logger.warning("not compiled, which makes a long run on a GPU faster, because it needs %s", lacking)
    agreed = bool(ranks.all_reduce(torch.tensor([int(compiles)]), ReduceOp.MIN))
    how = mode(config, train.device, ranks) if agreed else config.run.compile_mode
    return dataclasses.replace(config, run=dataclasses.replace(config.run, compile=agreed, compile_mode=how))


def mode(config: Config, device: torch.device, ranks: Ranks = ALONE) -> CompileMode:
    """How to compile: what was asked for, else with CUDA graphs on one GPU.

    A graph launches all kernels of a pass at once. Without it the model's launches probably wait for Python's lock
    while the loader's thread has it: with a loader, on an H100, graphs gave 1.03 to 1.10 times the images. With several
    ranks, whose gradients are exchanged meanwhile, they were not tried. docs/gpu.md has the figures.
    """
    if config.run.compile_mode != "auto":
        return config.run.compile_mode
    return "reduce-overhead" if device.type == "cuda" and not ranks.is_distributed else "default"


def decide(
    config: Config, device: torch.device, steps: int, *, possible: bool = True, before: bool | None = None
) -> bool:
    """Whether to compile: what was asked for, else on a GPU for runs that are long enough.

    On a CPU our own kernels are faster.

    Args:
        config: of the run; torch compiles once for each size of its images.
        device: where to train.
        steps: of the whole run.
        possible: whether torch can compile for the device.
        before: whether a run that is resumed was compiled; it is kept where that is possible.
    """
    if config.run.compiled is not None:
        return config.run.compiled
    if device.type != "cuda" or not possible:
        return False
    return steps >= FEWEST_STEPS * _sizes(config) if before is None else before


def _sizes(config: Config) -> int:
    """Number of sizes that a run trains on, each of which is compiled and searched for."""
    sizes = config.loader.sizes
    return len({side for _, side in sizes.starts}) if sizes else 1


@contextlib.contextmanager
def searching_convolutions(config: Config, train: Loader) -> Iterator[None]:
    """Has cuDNN try all its algorithms for each convolution in the first step of a size, if the run is long enough.

    Its evaluations search too. Without it cuDNN takes what its heuristics say. Behind the block all is as it was.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = len(train) * config.optim.epochs >= FEWEST_TO_SEARCH * _sizes(config)
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def missing(device: torch.device) -> str | None:
    """What torch would need to compile for a device and does not find; None for nothing, and on CPUs, without a look.

    On a GPU its first step would fail otherwise: Triton builds a module for Python, with the compiler that CC names,
    else gcc or clang.
    """
    if device.type != "cuda":
        return None
    if importlib.util.find_spec("triton") is None:
        return "the package triton"
    if torch.version.hip is None and torch.cuda.get_device_capability(device) < (7, 0):
        return "a GPU of compute capability 7.0 or above"
    compilers = [os.environ["CC"]] if "CC" in os.environ else ["gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        return f"a C compiler ({' or '.join(compilers)})"
    headers = Path(sysconfig.get_path("include", "posix_prefix"))
    return None if (headers / "Python.h").exists() else f"Python's headers ({headers}/Python.h)"


def check_possible(device: torch.device) -> None:
    """Raises InputError if torch cannot compile for a device."""
    if lacking := missing(device):
        raise InputError(
            f"`compile=True`: needs {lacking}, which is not here; without it leave out `compile` and `compile_mode`"
        )


def on_cpu(config: Config, device: torch.device) -> str | None:
    """What to say of a run that is compiled on a CPU; None if it is not."""
    if device.type != "cpu" or not config.run.compile:
        return None
    return (
        "compiling, which takes a minute or more before the first step; on a CPU compiled steps are slower than the "
        "kernels that they replace, and there are no CUDA graphs"
    )


def change(before: Config, now: Config) -> list[str]:
    """What to say where a resumed run is compiled and was not so far, or the other way round."""
    if bool(before.run.compile) == bool(now.run.compile):
        return []
    what = "compiled from here on, so far not" if now.run.compile else "not compiled from here on, so far it was"
    return [f"{what}: sums are rounded differently, so the result will not be the same to the bit"]
