"""What the options of a loader come to: device, augmentations, the settings of the engine."""

import torch

from feedline.pipeline.augment import Augmentations, Center, resolve_training
from feedline.pipeline.augment.types import Size
from feedline.pipeline.cores import available_cores
from feedline.pipeline.engines.types import EngineSpec
from feedline.pipeline.errors import InputError
from feedline.pipeline.options import LoaderOptions


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of that name. Raises InputError if it is no CPU or GPU of this machine."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"`device={name}`: must be cpu, cuda or a GPU as cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"`device={name}`: must be cpu, cuda or a GPU as cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"`device={name}`: torch finds no CUDA GPU here; use `device=cpu`, or check the driver")
    return device


def augmentations(options: LoaderOptions, image: Size | None, output: Size) -> Augmentations:
    """What is done to images whose size is `image`, (height, width) in pixels; None if it varies."""
    if options.part == "train":
        return resolve_training(options.augment, image, output)
    # The whole of images of one size, and the usual 7/8 of the largest centre of others.
    return Augmentations(output, Center(options.crop_fraction or (0.875 if image is None else 1.0)))


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
        decode=options.decode,
        prefetch=options.prefetch,
    )
