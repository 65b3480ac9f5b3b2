"""What a run makes of its settings on its dataset and machine: kept in checkpoints, compared when it is resumed."""

from collections.abc import Mapping
from typing import Any

import torch

from feedline.output import counted
from feedline.pipeline.augment.types import Size
from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Loader
from feedline.pipeline.resolve import input_size
from feedline.training.config import Config

# Of these a resumed run may have others, which change the order in which numbers are added.
MACHINE = ("torch_threads",)
WITH = ("store",)  # named in messages; another one is as good as long as it leads to the same
NAMES = {
    "images": "size of images",
    "size": "size of the input",
    "eval_size": "size of the input in evaluation",
    "eval_crop": "crop in evaluation",
}


def resolved(train: Loader) -> dict[str, Any]:
    """What a run resolved: numbers, texts and lists.

    Args:
        train: the loader of its train part, before the first loop.
    """
    return {"torch_threads": torch.get_num_threads(), "store": train.store_name, **train.geometry}


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What to say of a run that is resumed with other resolved settings; checks that they lead to the same images.

    Args:
        before: of the checkpoint; what an older version did not keep is not compared.
        now: of this process.

    Raises:
        InputError: if sizes or crops differ.
    """
    for name in before.keys() & now.keys() - {*MACHINE, *WITH}:
        if before[name] != now[name]:
            store, other = before.get("store"), f"({_text(now[name])}, so far {_text(before[name])})"
            what = f"gives this run another {NAMES.get(name, name)} {other}"
            if store == now.get("store"):
                raise InputError(f"this program {what}; a resumed run keeps its own, so start a new one")
            raise InputError(f"`store={now.get('store')}`: {what}; resume it with `store={store}`")
    earlier, threads = (settings.get("torch_threads") for settings in (before, now))
    if earlier is None or threads is None or earlier == threads:
        return []
    return [
        f"{counted(threads, 'torch thread', 'torch threads')}, so far {earlier}: sums are rounded differently, so the "
        f"result will not be the same to the bit; --torch-threads {earlier} keeps it"
    ]


def as_older_versions(config: Config, image: Size | None, *, resume: bool) -> Config:
    """The configuration of a run whose checkpoint says nothing of what it resolved, so that it comes to the same again.

    Older versions trained on images of one size as they were, also where these were large or not square; they squeezed
    those that are not square into the input for pad-crop, and evaluated all of the centre.

    Args:
        config: of the run.
        image: (height, width) of all images in pixels, None if they vary.
        resume: to train on with it, and not only to evaluate.

    Raises:
        InputError: if the run cannot be resumed, because it was fed what this version does not make.
    """
    if image is None:
        return config
    options, (height, width) = config.loader, image
    if height == width:
        own = options.image_size is None and input_size(image) != image
        return config.replace(image_size=width) if own else config
    squeezed = any(item.split(":")[0] in ("auto-crop", "pad-crop") for item in options.augment)
    if resume and (options.image_size is None or squeezed):
        raise InputError(
            f"this run was trained by an older version, with images of {height}x{width} that were not cropped to the "
            "square that this one trains on; start a new run"
        )
    return config if options.crop_fraction is not None else config.replace(crop_fraction=1.0)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "that varies" if value is None else str(value)
