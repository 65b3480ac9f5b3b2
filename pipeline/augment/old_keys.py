"""The keys `crop`, `padding` and `flip`, which `augment` replaced: recipes and checkpoints may still have them."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from feedline.pipeline.augment.augmentations import AutoCrop, Editing, Mirror, canonical, parse
from feedline.pipeline.augment.center import Center
from feedline.pipeline.augment.flip import Flip
from feedline.pipeline.augment.pad_crop import PadCrop
from feedline.pipeline.augment.random_resized_crop import RandomResizedCrop
from feedline.pipeline.errors import InputError, did_you_mean

OLD_KEYS: dict[str, Any] = {"crop": Literal["auto", "pad", "random-resized", "center"], "padding": int, "flip": bool}
CROPS = {"auto": AutoCrop.name, "pad": PadCrop.name, "random-resized": RandomResizedCrop.name, "center": Center.name}


def translate_old_keys(values: Mapping[str, Any], before: Sequence[str]) -> dict[str, Any]:
    """Values with `augment` in place of `crop`, `padding` and `flip`.

    Args:
        values: keys and values of a recipe, a command line or a checkpoint.
        before: the list that they change, e.g. `["auto-crop", "flip"]`.

    Raises:
        InputError: if `augment` is there too, or a value cannot be used.
    """
    old = {key: values[key] for key in OLD_KEYS if key in values}
    if not old:
        return dict(values)
    if "augment" in values:
        raise InputError(f"`{next(iter(old))}`: `augment` says that already; keep `augment`, as in pad-crop:4,flip")
    flips, others = ([item for item in before if isinstance(parse([item])[0], kind)] for kind in (Mirror, Editing))
    crop = _crop(old, [item for item in before if item not in flips and item not in others])
    flips = (flips or [Flip.name]) if old.get("flip", bool(flips)) else []
    augment = canonical((*crop, *flips, *others))
    return {**{key: value for key, value in values.items() if key not in OLD_KEYS}, "augment": augment}


def _crop(old: Mapping[str, Any], before: Sequence[str]) -> Sequence[str]:
    """The crop of the new list; none, or one item."""
    if "crop" in old and old["crop"] not in list(CROPS):  # a list: what a checkpoint holds may not be hashable
        raise InputError(f"`crop={old['crop']}`: choose from {', '.join(CROPS)}{did_you_mean(str(old['crop']), CROPS)}")
    name = CROPS[old["crop"]] if "crop" in old else before[0].split(":")[0] if before else Center.name
    if name in (AutoCrop.name, PadCrop.name):
        kept = [a.padding for a in parse(before) if isinstance(a, (AutoCrop, PadCrop))]
        return [f"{name}:{old.get('padding', kept[0] if kept else PadCrop().padding)}"]
    return [name] if "crop" in old else before
