"""What a configuration builds: device, loaders, model."""

import dataclasses
import inspect
from collections.abc import Sequence

import torch
from torch import nn

from feedline.cli.request import Request
from feedline.model import stem_for
from feedline.output import counted
from feedline.pipeline.cores import available_cores
from feedline.pipeline.dataset import Dataset, PartName
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.training.config import Config
from feedline.training.network import Network, build_network
from feedline.training.precision import Precision
from feedline.training.ranks import ALONE, Ranks

# The end of a mode's first line. Networks without a choice of stem leave it at `auto`.
STEMS = {"auto": "", "small": "; stem small (3x3)", "standard": "; stem standard (7x7, max-pool)"}


def choose_device(name: str, ranks: Ranks = ALONE) -> torch.device:
    """The device of this process; on a machine with several ranks each uses its own GPU.

    Args:
        name: `auto`, `cpu` or `cuda`.
        ranks: this process among the others.

    Raises:
        InputError: if a GPU is asked for and there is none, or there are more ranks than GPUs.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("`device=cuda`: torch finds no CUDA GPU here; use `device=cpu`, or check the driver")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    gpus = torch.cuda.device_count()
    if ranks.local_rank >= gpus:
        raise InputError(
            f"rank {ranks.rank}: this machine has {counted(gpus, 'GPU')} for {counted(ranks.local_size, 'rank')}; use "
            f"--nproc-per-node {gpus}, or `device=cpu`"
        )
    if ranks.is_distributed:
        torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", torch.cuda.current_device())


def batch_dtype(config: Config, device: torch.device) -> torch.dtype:
    """Of the images that a run trains on. Under autocast, which rounds further, a GPU gets half the bytes."""
    return torch.float16 if device.type == "cuda" and config.run.amp else torch.float32


def make_loader(config: Config, dataset: Dataset, part: PartName, device: torch.device, ranks: Ranks = ALONE) -> Loader:
    """Builds the loader of one part of the split. The ranks of a machine share its cores."""
    options = dataclasses.replace(
        config.loader,
        part=part,
        device=device,
        seed=config.run.seed,
        threads=config.loader.threads or max(available_cores() // ranks.local_size, 1),
        dtype=batch_dtype(config, device),
        rank=ranks.rank,
        world_size=ranks.world_size,
    )
    return Loader(dataset, **vars(options))


def make_model(config: Config, dataset: Dataset, network: Network) -> nn.Module:
    """Builds the model, with weights drawn from the seed.

    Raises:
        InputError: if an option is set that the network does not take.
    """
    torch.manual_seed(config.run.seed)
    return build_network(network, config.loader.classes or len(dataset.classes), config.model.changed())


def with_stem(config: Config, request: Request, side: int | None) -> Config:
    """The configuration with the stem that `auto` is.

    Networks that take no stem get none, unless a flag asks for it.

    Args:
        config: of the run.
        request: says which network, and has the flags.
        side: the largest that the run trains on, in pixels; None for the configuration of a checkpoint. If that still
            says `auto`, an older version wrote it, which had the small stem only.
    """
    stem = config.model.stem
    if "stem" not in inspect.signature(request.network).parameters:
        return config if side is None or "stem" in request.flags else config.replace(stem="auto")
    return config if stem != "auto" else config.replace(stem="small" if side is None else stem_for(side))


def training_side(config: Config, own: Sequence[int]) -> int:
    """The largest side that a run trains on, in pixels.

    Args:
        config: of the run.
        own: (height, width) of the input where the configuration has no size.
    """
    sizes = config.loader.sizes
    return max(own) if sizes is None else max(side for _, side in sizes.starts)


def print_loader(loader: Loader, config: Config, trained: Sequence[int] | None = None) -> None:
    """Prints what a loader feeds, and how.

    Args:
        loader: of a part.
        config: of the run.
        trained: for an evaluation: (height, width) of the last inputs in training, in pixels, if they are known.
    """
    precision = Precision.choose(config.run, loader.device).name
    compiled = ", compiled" if config.run.compiled and loader.part == "train" else ""
    part = "test" if loader.part == "test" else loader.split
    ranks = f", {loader.plan.world_size} ranks" if loader.plan.world_size > 1 else ""
    print(
        f"{loader.folder.name} {part}, {counted(loader.images, 'image')}, {_sizes(loader, trained)}, batches of "
        f"{loader.batch_size}{_dropped(loader)}; store {loader.store_name}, engine {loader.engine_name}, "
        f"{loader.device.type}, {precision}{compiled}{ranks}; recipe {config.recipe}{STEMS[config.model.stem]}",
        flush=True,
    )
    if note := size_note(loader):
        print(note, flush=True)


def _dropped(loader: Loader) -> str:
    """What each epoch leaves out, if anything."""
    rest = loader.images % loader.batch_size if loader.drop_last else 0
    others = "another" if rest == 1 else "others"
    verb = "is" if rest == 1 else "are"
    return f" ({counted(rest, 'image')} {verb} left out of each epoch, {others} each time)" if rest else ""


def size_note(loader: Loader) -> str | None:
    """What to say where the input has not the images' size, and nobody asked for another; None otherwise."""
    output = loader.output(0)
    if loader.options.image_size is not None or output in (loader.image_size, (loader.options.eval_size,) * 2):
        return None
    images = "images vary in size" if loader.image_size is None else f"images are {shown(loader.image_size)}"
    return f"{images}: the input is {shown(output)}; another --image-size may be given"


def _sizes(loader: Loader, trained: Sequence[int] | None) -> str:
    """The sizes of a loader's batches, as `24x24, 32x32 from epoch 5`, and that of the other part if it differs."""
    if loader.part != "train":
        text = shown(loader.eval_output)
        return (
            text if trained is None or tuple(trained) == loader.eval_output else f"{text}, trained at {shown(trained)}"
        )
    sizes = loader.options.sizes
    last = loader.output(0) if sizes is None else (sizes.last, sizes.last)
    text = shown(last) if sizes is None else str(sizes)
    return text if loader.eval_output == last else f"{text}, evaluated at {shown(loader.eval_output)}"


def shown(size: Sequence[int]) -> str:
    """(height, width) as `32x32`."""
    height, width = size
    return f"{height}x{width}"
