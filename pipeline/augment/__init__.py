"""Augmentations, one file each, and the list of their names.

An augmentation says what the plan draws for an image: arrays that are a function of (seed, epoch, image id). Crops
choose a window, flips whether it is mirrored; an engine cuts, mirrors and normalises in one pass (DALI's `slice`
and `crop_mirror_normalize`, the torch engine's kernel), so neither costs a pass over the pixels. The others edit the
pixels of the windows (`Edit`), before these are normalised.

Loader, recipes and command line write them the same way: `pad-crop:4`, `flip`.
"""

from feedline.pipeline.augment.alternating_flip import AlternatingFlip
from feedline.pipeline.augment.augmentations import (
    Augmentations,
    as_text,
    canonical,
    has_mirror,
    parse,
    resolve_training,
)
from feedline.pipeline.augment.center import Center
from feedline.pipeline.augment.color_jitter import ColorJitter
from feedline.pipeline.augment.erasing import Erasing
from feedline.pipeline.augment.flip import Flip
from feedline.pipeline.augment.old_keys import translate_old_keys
from feedline.pipeline.augment.pad_crop import PadCrop
from feedline.pipeline.augment.rand_augment import RandAugment
from feedline.pipeline.augment.random_resized_crop import RandomResizedCrop
from feedline.pipeline.augment.trivial_augment import TrivialAugment

__all__ = [
    "AlternatingFlip",
    "Augmentations",
    "Center",
    "ColorJitter",
    "Erasing",
    "Flip",
    "PadCrop",
    "RandAugment",
    "RandomResizedCrop",
    "TrivialAugment",
    "as_text",
    "canonical",
    "has_mirror",
    "parse",
    "resolve_training",
    "translate_old_keys",
]
