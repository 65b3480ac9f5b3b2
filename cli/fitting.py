"""What follows from the data and from other flags: a batch that fits, the rate for it, and views without mirrors.

Only what the command line does not say is changed, and each change is printed. The configuration that comes out is the
run's, so a resumed run keeps it.
"""

import dataclasses
import math

from feedline.cli.recipes import configure, own_keys
from feedline.cli.request import Request
from feedline.output import counted
from feedline.pipeline.augment import has_mirror
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.part import choose_ids
from feedline.training.config import Config

FEWEST_STEPS = 8  # an epoch should have
SMALLEST_BATCH = 8  # batch norms want some images
# Goyal et al., "Accurate, large minibatch SGD", 2017; Malladi et al., "On the SDEs and scaling rules for adaptive
# gradient algorithms", NeurIPS 2022. Muon makes the update's size independent of the gradient's, as Adam does.
POWER = {"sgd": 1.0, "adam": 0.5, "adamw": 0.5, "muon": 0.5}
USUAL = {"sgd": 0.2, "adam": 0.003, "adamw": 0.003, "muon": 0.06}  # max LR at batches of 256, as in recipes/
IN_WORDS = {1.0: "in proportion to", 0.5: "with the square root of"}


def fitted(request: Request, config: Config, dataset: Dataset) -> Config:
    """Fits a configuration to its dataset and its flags, and prints what was changed; but for training, only the batch.

    Args:
        request: says which keys were given.
        config: the recipe with the flags on top.
        dataset: to train on.

    Raises:
        InputError: if there is no such split or class.
    """
    config = _with_fitting_batch(request, config, dataset)
    if request.mode != "train":
        return config
    recipe = configure(request.recipe or "default", {}, dataset)
    _say_decay(request, config, recipe)
    return _without_mirrors(request, _with_rate_of_batch(request, config, recipe), recipe)


def _say_decay(request: Request, config: Config, recipe: Config) -> None:
    """Says that a weight decay is meant otherwise: AdamW's is no part of the gradient (Loshchilov and Hutter, 2019)."""
    kind, before, decay = config.optim.optimizer, recipe.optim.optimizer, config.optim.weight_decay
    if "weight_decay" not in request.flags and decay and (kind == "adamw") != (before == "adamw"):
        print(
            f"weight decay {decay:g} is the recipe's for {before}; {kind} mostly wants another: say --weight-decay",
            flush=True,
        )


def _with_fitting_batch(request: Request, config: Config, dataset: Dataset) -> Config:
    """A smaller batch where an epoch of the recipe's would have too few steps."""
    images = len(choose_ids(dataset, dataclasses.replace(config.loader, part="train")))
    asked, unit = config.loader.batch_size, config.batch_unit(request.ranks.world_size)
    size = batch_that_fits(images, unit)
    given = "batch_size" in request.flags or "batch_size" in own_keys(request.recipe, dataset)
    if given or images >= FEWEST_STEPS * asked or not 0 < size < asked:
        return config
    print(
        f"batches of {size} instead of {asked}: {counted(images, 'image')} {'gives' if images == 1 else 'give'} "
        f"{counted(images // size, 'step')} an epoch (or say --batch-size)",
        flush=True,
    )
    return config.replace(batch_size=size)


def batch_that_fits(images: int, unit: int = 1) -> int:
    """The largest power of two with eight steps an epoch, at least 8 if there are so many images; a multiple of `unit`.

    Args:
        images: in an epoch.
        unit: what a batch must be a multiple of.
    """
    size = 2 ** int(math.log2(max(images // FEWEST_STEPS, 1)))
    size = max(size, min(SMALLEST_BATCH, images))
    return max(size // unit, 1) * unit


def _with_rate_of_batch(request: Request, config: Config, recipe: Config) -> Config:
    """The recipe's rate, scaled to another batch than the recipe's; the usual one of another optimizer."""
    rate, kind = config.optim.max_lr, config.optim.optimizer
    if "max_lr" in request.flags or rate == "auto":
        return config
    size, before, power = config.loader.batch_size, recipe.loader.batch_size, POWER[kind]
    if kind != recipe.optim.optimizer:
        usual = float(f"{USUAL[kind] * (size / 256) ** power:.3g}")
        print(
            f"max LR {usual:g}, as {kind} usually has with batches of {size}: the recipe's {rate:g} is for "
            f"{recipe.optim.optimizer} (or say --max-lr, or find one with --mode lrfind)",
            flush=True,
        )
        return config.replace(max_lr=usual)
    if size == before:
        return config
    scaled = rate * (size / before) ** power
    print(
        f"max LR {scaled:.3g} instead of {rate:g}: with {kind} it changes {IN_WORDS[power]} the batch, which is {size} "
        f"and not the recipe's {before} (or say --max-lr)",
        flush=True,
    )
    return config.replace(max_lr=scaled)


def _without_mirrors(request: Request, config: Config, recipe: Config) -> Config:
    """No mirror images in evaluation where flags took them out of training: left and right may tell classes apart."""
    dropped = has_mirror(recipe.loader.augment) and not has_mirror(config.loader.augment)
    if not (dropped and config.run.tta) or request.flags.keys() & {"tta", "tta_views"}:
        return config
    print("evaluation takes no mirror images either: training has no flip (or say --tta)", flush=True)
    return config.replace(tta=False)
