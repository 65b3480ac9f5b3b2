"""What the options of a loader come to: device, augmentations, the settings of the engine."""

from typing import Literal

import torch

from feedline.output import counted
from feedline.pipeline.augment import Augmentations, Center, resolve_training
from feedline.pipeline.augment.types import Size, same_shape
from feedline.pipeline.cores import available_cores
from feedline.pipeline.engines.types import EngineSpec
from feedline.pipeline.errors import InputError
from feedline.pipeline.options import LoaderOptions

LARGEST_OWN = 128  # pixels: up to this shorter side, images of one size are trained on as they are; CPUs decode them
PHOTO = 224  # pixels: the usual side for photos


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of that name: of a GPU with its number, which for `cuda` is the caller's current one.

    `auto` is `cuda` where there is a GPU, else `cpu`. Other threads have a current GPU of their own.

    Raises:
        InputError: if it is no CPU or GPU of this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"`device={name}`: must be auto, cpu, cuda or a GPU as cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"`device={name}`: must be auto, cpu, cuda or a GPU as cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"`device={name}`: torch finds no CUDA GPU here; use `device=cpu`, or check the driver")
    if device.type == "cpu":
        return device
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise InputError(
            f"`device={name}`: this machine has {counted(torch.cuda.device_count(), 'GPU')}, numbered from 0"
        )
    return torch.device("cuda", index)


def augmentations(options: LoaderOptions, image: Size | None, output: Size) -> Augmentations:
    """What is done to images whose size is `image`, (height, width) in pixels; None if it varies."""
    if options.part == "train":
        return resolve_training(options.augment, image, output)
    return Augmentations(output, eval_crop(options, image, output))


def eval_crop(options: LoaderOptions, image: Size | None, output: Size) -> Center:
    """Evaluation's crop: images of one size and the output's shape as they are, else 7/8 of the largest centre."""
    whole = image is not None and same_shape(image, output)
    return Center(options.crop_fraction or (1.0 if whole else 0.875))


def input_size(image: Size | None) -> Size:
    """The input's (height, width) in pixels where no option says it: small images keep their own, photos get 224.

    The input is square. The shorter side counts, since the windows of evaluation are cut from it.

    Args:
        image: of all images, None if they vary.
    """
    side = PHOTO if image is None or min(image) > LARGEST_OWN else min(image)
    return side, side


def decoder(options: LoaderOptions, image: Size | None, device: torch.device) -> Literal["cpu", "mixed"]:
    """Where DALI decodes images whose size is `image`, None if it varies. `mixed` needs a GPU.

    With an H100, 16 threads and 64x64 JPEGs in a pack `mixed` took 145 us of CPU time an image, `cpu` 92.5, for 64,235
    images/s against 60,460; with 4 threads it gave 49,400 against 53,767.
    """
    if device.type == "cpu":
        return "cpu"
    if options.decode != "auto":
        return options.decode
    return "cpu" if image is not None and min(image) <= LARGEST_OWN else "mixed"


def engine_spec(
    options: LoaderOptions, augment: Augmentations, image: Size | None, images: int, device: torch.device
) -> EngineSpec:
    """The settings of the engine, for `images` images whose size is `image`."""
    return EngineSpec(
        output=augment.output,
        window=augment.window_size(image),
        inside=augment.crop.inside,
        whole_images=augment.whole_images(image),
        edits=augment.parts,
        batch_size=min(-(-options.batch_size // options.world_size), images),
        views=options.views,
        mean=tuple(options.mean),
        std=tuple(options.std),
        dtype=options.dtype,
        device=device,
        threads=options.threads or available_cores(),
        decode=decoder(options, image, device),
        prefetch=options.prefetch,
    )
