"""What the modes share: the request, and how a configuration becomes device, loaders and model."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from model import resnet18
from pipeline.dataset import Dataset
from pipeline.errors import InputError
from pipeline.loader import Loader
from training import checkpoint
from training.config import Config, convert, from_flags, keys
from training.precision import Precision


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

    def folder(self) -> Path:
        """Where results go: `--out`, or a new folder named after mode and time."""
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


def choose_device(name: str) -> torch.device:
    """The device of `--device`.

    Raises:
        InputError: if a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA GPU here; use --device cpu, or check the driver")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True  # one input size: the fastest convolutions are searched for once
    return torch.device("cuda", torch.cuda.current_device())


def make_loader(config: Config, dataset: Dataset, part: Literal["train", "val"], device: torch.device) -> Loader:
    """The loader of a configuration for one part of its split."""
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
        threads=data.threads,
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
    )


def make_model(config: Config, dataset: Dataset) -> torch.nn.Module:
    """The network, with weights drawn from the seed."""
    torch.manual_seed(config.run.seed)
    return resnet18(config.data.classes or len(dataset.classes))


def say_feed(loader: Loader, config: Config) -> None:
    height, width = loader.spec.output
    precision = Precision.choose(config.run, loader.device).name
    print(
        f"{loader.dataset.name} {loader.split}, {loader.images:,} images, {height}x{width}, batches of "
        f"{loader.batch_size}; store {loader.store_name}, engine {loader.engine_name}, {loader.device.type}, "
        f"{precision}; recipe {config.recipe}",
        flush=True,
    )


def saved_values(state: dict[str, Any]) -> dict[str, Any]:
    """The flat configuration in a checkpoint."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in state["config"].items()}


def given_values(request: Request) -> dict[str, Any]:
    """The keys that were given as flags, converted."""
    return {f.name: convert(f.name, h, request.flags[f.name]) for _, h, f in keys() if f.name in request.flags}


def latest_checkpoint(runs: Path, name: str, fingerprint: str | None = None) -> Path:
    """The newest checkpoint of a name, of a dataset if one is given."""
    for path in sorted(runs.glob(f"*/{name}"), key=lambda p: p.stat().st_mtime, reverse=True):
        if fingerprint is None or checkpoint.load(path)["fingerprint"] == fingerprint:
            return path
    raise InputError(f"no run with a {name} in {runs}; train one with --mode train, or name it")


def check_dataset(state: dict[str, Any], dataset: Dataset, path: Path) -> None:
    if state["fingerprint"] != dataset.fingerprint:
        raise InputError(
            f"{path}: was trained on another dataset ({len(state['classes'])} classes, fingerprint "
            f"{state['fingerprint'][:12]}), {dataset.root} is {dataset.name} with {len(dataset.classes)} classes, "
            f"fingerprint {dataset.fingerprint[:12]}; give its own with --data"
        )
