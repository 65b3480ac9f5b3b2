"""What the modes share: the request, and how a configuration becomes device, loaders and model."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from feedline.model import resnet18
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.training import checkpoint
from feedline.training.config import Config, convert, from_flags, keys
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Request:
    """What the command line asked for. `flags` are the keys of a recipe that were given."""

    mode: str
    flags: dict[str, Any]
    command: str
    recipe: str | None = None
    out: str | None = None
    resume: str | None = None
    checkpoint: str | None = None
    start_lr: float | None = None
    end_lr: float | None = None
    rounds: int = 5
    seconds: float = 2.0
    ranks: Ranks = ALONE

    def folder(self) -> Path:
        """Where results go: `--out`, or a new folder named after mode and time. A question for rank 0 alone."""
        if self.out:
            return Path(self.out)
        stem = Path("runs") / f"{self.mode}-{time.strftime('%Y%m%d-%H%M%S')}"
        number = next(n for n in range(1, 1000) if not _numbered(stem, n).exists())
        return _numbered(stem, number)

    def runs(self) -> Path:
        """The folder that runs lie in."""
        return Path(self.out).parent if self.out else Path("runs")

    def config(self) -> Config:
        return from_flags(self.recipe or "default", self.flags)


def _numbered(stem: Path, number: int) -> Path:
    return stem if number == 1 else stem.with_name(f"{stem.name}-{number}")


def choose_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device of `--device`; each rank of a machine has a GPU of its own.

    Raises:
        InputError: if a GPU is asked for and there is none, or there are more ranks than GPUs.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA GPU here; use --device cpu, or check the driver")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    if ranks.local_rank >= torch.cuda.device_count():
        raise InputError(
            f"rank {ranks.rank}: this machine has {torch.cuda.device_count()} GPU(s) for {ranks.local_size} ranks; use "
            f"--nproc-per-node {torch.cuda.device_count()}, or --device cpu"
        )
    torch.backends.cudnn.benchmark = True  # one input size: the fastest convolutions are searched for once
    if ranks.several:
        torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", torch.cuda.current_device())


def make_loader(
    config: Config, dataset: Dataset, part: Literal["train", "val"], device: torch.device, ranks: Ranks = ALONE
) -> Loader:
    """The loader of a configuration for one part of its split; the ranks of a machine share its cores."""
    data = config.data
    half = device.type == "cuda" and config.run.amp  # autocast rounds further; half the bytes until then
    return Loader(
        dataset,
        split=data.split,
        part=part,
        batch_size=data.batch_size,
        store=data.store,
        engine=data.engine,
        device=device,
        seed=config.run.seed,
        threads=data.threads or max((os.cpu_count() or 1) // ranks.local_size, 1),
        image_size=data.image_size,
        shuffle=data.shuffle,
        shuffle_block=data.shuffle_block,
        shuffle_group=data.shuffle_group,
        crop=data.crop,
        padding=data.padding,
        flip=data.flip,
        mean=data.mean,
        std=data.std,
        dtype=torch.float16 if half else torch.float32,
        decode=data.decode,
        classes=data.classes,
        rank=ranks.rank,
        world_size=ranks.world_size,
    )


def make_model(config: Config, dataset: Dataset) -> torch.nn.Module:
    """The network, with weights drawn from the seed."""
    torch.manual_seed(config.run.seed)
    return resnet18(config.data.classes or len(dataset.classes))


@contextmanager
def memory_errors(config: Config, ranks: Ranks = ALONE) -> Iterator[None]:
    """Turns a lack of memory into one line with the batch size to try."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        on_host = isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)
        if not (isinstance(error, torch.OutOfMemoryError) or on_host):
            raise
        size, less = config.data.batch_size, config.data.batch_size // 2 // ranks.world_size * ranks.world_size
        where = "the host" if on_host else f"the GPU ({torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB)"
        advice = f"try --batch-size {less}" + ("" if config.run.amp else " or --amp")
        raise InputError(f"--batch-size {size}: {where} has no memory left; {advice}") from error


def say_feed(loader: Loader, config: Config) -> None:
    height, width = loader.spec.output
    precision = Precision.choose(config.run, loader.device).name
    print(
        f"{loader.dataset.name} {loader.split}, {loader.images:,} images, {height}x{width}, batches of "
        f"{loader.batch_size}; store {loader.store_name}, engine {loader.engine_name}, {loader.device.type}, "
        f"{precision}{f', {ranks} ranks' if (ranks := loader.plan.world_size) > 1 else ''}; recipe {config.recipe}",
        flush=True,
    )


def saved_config(state: dict[str, Any]) -> Config:
    """The configuration in a checkpoint. Raises InputError as a recipe would; keys that it lacks have their default."""
    saved = state["config"]
    values = {f.name: convert(f.name, hint, saved[f.name]) for _, hint, f in keys() if f.name in saved}
    return Config.build(state["recipe"], values)


def given_values(request: Request) -> dict[str, Any]:
    """The keys that were given as flags, converted."""
    return {f.name: convert(f.name, h, request.flags[f.name]) for _, h, f in keys() if f.name in request.flags}


def latest_checkpoint(runs: Path, name: str, fingerprint: str | None = None) -> Path:
    """The newest checkpoint of a name, of a dataset if one is given; those that cannot be read are passed over then."""
    for path in sorted(runs.glob(f"*/{name}"), key=lambda p: p.stat().st_mtime, reverse=True):
        if fingerprint is None:
            return path
        with suppress(InputError):
            if checkpoint.load(path)["fingerprint"] == fingerprint:
                return path
    raise InputError(f"no run with a {name} in {runs}; train one with --mode train, or name it")


def check_dataset(state: dict[str, Any], dataset: Dataset, path: Path) -> None:
    if state["fingerprint"] != dataset.fingerprint:
        raise InputError(
            f"{path}: was trained on another dataset ({len(state['classes'])} classes, fingerprint "
            f"{state['fingerprint'][:12]}), {dataset.root} is {dataset.name} with {len(dataset.classes)} classes, "
            f"fingerprint {dataset.fingerprint[:12]}; give its own with --data"
        )
