"""Lists of augmentations: parsing, and windows, flips and edits for the plan."""

import dataclasses
import re
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.augment.alternating_flip import AlternatingFlip
from feedline.pipeline.augment.center import Center
from feedline.pipeline.augment.color_jitter import ColorJitter
from feedline.pipeline.augment.erasing import Erasing
from feedline.pipeline.augment.flip import Flip
from feedline.pipeline.augment.pad_crop import PadCrop
from feedline.pipeline.augment.rand_augment import RandAugment
from feedline.pipeline.augment.random_resized_crop import RandomResizedCrop
from feedline.pipeline.augment.trivial_augment import TrivialAugment
from feedline.pipeline.augment.types import Crop, Editor, Size, same_shape
from feedline.pipeline.errors import InputError, did_you_mean
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, EditPart


@dataclass(frozen=True)
class AutoCrop:
    """`auto-crop`: `pad-crop` where all images share one size, of the output's shape; else `random-resized-crop`.

    Attributes:
        padding: of `pad-crop`, in pixels.
    """

    name = "auto-crop"

    padding: int = 4

    def __post_init__(self) -> None:
        PadCrop(self.padding)

    def resolve(self, image: Size | None, output: Size) -> Crop:
        return PadCrop(self.padding) if image is not None and same_shape(image, output) else RandomResizedCrop()


NUMBER = r"\d*\.?\d+(?:e[+-]?\d+)?"  # in a range: without a sign, since - stands between the two

Mirror = Flip | AlternatingFlip
Policy = TrivialAugment | RandAugment
Editing = Policy | ColorJitter | Erasing
# In the order in which they are done, and in which lists and help show them.
Augmentation = AutoCrop | PadCrop | RandomResizedCrop | Center | Mirror | Editing
AUGMENTATIONS: dict[str, type[Augmentation]] = {kind.name: kind for kind in typing.get_args(Augmentation)}


@dataclass(frozen=True)
class Augmentations:
    """The augmentations of a part of a split.

    Attributes:
        output: (height, width) of a batch in pixels.
        crop: chooses the windows.
        flip: chooses the images to mirror; None for no flips.
        editors: change the pixels of windows, in this order.
    """

    output: Size
    crop: Crop
    flip: Mirror | None = None
    editors: tuple[Editor, ...] = ()

    def choose(self, draw: Draw) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Windows, int32 [B, 4], (y, x, height, width) in pixels, and flips, bool [B]."""
        window = self.crop.windows(draw, self.output)
        return window, np.zeros(len(draw.ids), dtype=bool) if self.flip is None else self.flip.flips(draw)

    def edits(self, draw: Draw) -> tuple[Edit, ...]:
        """The edits of images, in order."""
        return tuple(edit for editor in self.editors for edit in editor.edits(draw, self.output))

    @property
    def parts(self) -> tuple[tuple[EditPart, ...], ...]:
        """The parts of each edit."""
        return tuple(parts for editor in self.editors for parts in editor.parts)

    def whole_images(self, image: Size | None) -> bool:
        """Whether every image of this size is taken whole and as it is."""
        as_it_is = self.crop.inside and self.flip is None and not self.editors
        return as_it_is and self.output == image and self.window_size(image) == image

    def window_size(self, image: Size | None) -> Size | None:
        """(height, width) in pixels of all windows; None if images or windows vary."""
        return None if image is None else self.crop.window_size(image, self.output)


def parse(items: Sequence[str]) -> list[Augmentation]:
    """Reads a list such as `["pad-crop:4", "flip"]`.

    An item is a name, then its arguments, in their order or by name: `pad-crop:4`, `pad-crop:padding=4`,
    `random-resized-crop:scale=0.25-1`.

    Raises:
        InputError: if a name is unknown, an argument cannot be read, or there are two crops or two of a kind.
    """
    parsed = [_parse_item(item.strip()) for item in items]
    groups: dict[str, list[str]] = {}
    for augmentation in parsed:
        groups.setdefault(_group(augmentation), []).append(augmentation.name)
    for group, names in groups.items():
        if len(names) > 1:
            raise InputError(f"`augment={','.join(items)}`: {names[0]} and {names[1]}; one {group} at most")
    return parsed


def _group(augmentation: Augmentation) -> str:
    """The group of which a list has one at most."""
    if isinstance(augmentation, Policy):
        return "policy"
    if isinstance(augmentation, Editing):
        return augmentation.name
    return "flip" if isinstance(augmentation, Mirror) else "crop"


def canonical(items: Sequence[str]) -> tuple[str, ...]:
    """The list as it is kept and compared: in the order of `AUGMENTATIONS`, without arguments that are the default.

    Raises:
        InputError: as `parse` does.
    """
    return tuple(map(as_text, sorted(parse(items), key=lambda a: list(AUGMENTATIONS).index(a.name))))


def as_text(augmentation: Augmentation | Crop) -> str:
    """An augmentation as lists have it, without arguments that are the default: `pad-crop:2`."""
    fields = dataclasses.fields(augmentation)  # type: ignore[arg-type]
    changed = [(f.name, getattr(augmentation, f.name)) for f in fields if getattr(augmentation, f.name) != f.default]
    arguments = [f"{name}={_argument(value)}" if len(fields) > 1 else _argument(value) for name, value in changed]
    return ":".join([augmentation.name, *arguments])


def _argument(value: Any) -> str:
    return "-".join(map(_argument, value)) if isinstance(value, tuple) else repr(value).removesuffix(".0")


def has_mirror(items: Sequence[str]) -> bool:
    """Whether a list of augmentations mirrors images."""
    return any(isinstance(augmentation, Mirror) for augmentation in parse(items))


def resolve_training(items: Sequence[str], image: Size | None, output: Size) -> Augmentations:
    """The augmentations of a train part.

    Args:
        items: as `parse` reads them; without a crop the whole centre is taken.
        image: (height, width) of all images in pixels, None if they vary.
        output: (height, width) of a batch in pixels.

    Raises:
        InputError: as `parse` does, or if a padding is not below the side of the images.
    """
    crop: Crop = Center()
    flip: Mirror | None = None
    editors: list[Editor] = []
    for augmentation in parse(canonical(items)):
        if isinstance(augmentation, Mirror):
            flip = augmentation
        elif isinstance(augmentation, Editing):
            editors.append(augmentation)
        else:
            crop = augmentation.resolve(image, output) if isinstance(augmentation, AutoCrop) else augmentation
    side = min(image or output)
    if isinstance(crop, PadCrop) and crop.padding >= side:
        raise InputError(f"`augment={as_text(crop)}`: the padding must be below the side of the images, {side} pixels")
    return Augmentations(output, crop, flip, tuple(editors))


def _parse_item(item: str) -> Augmentation:
    name, *words = item.split(":")
    if name not in AUGMENTATIONS:
        raise InputError(
            f"`augment={item}`: there is no {name!r}; choose from "
            f"{', '.join(AUGMENTATIONS)}{did_you_mean(name, AUGMENTATIONS)}"
        )
    kind = AUGMENTATIONS[name]
    fields = [field.name for field in dataclasses.fields(kind)]
    values: dict[str, Any] = {}
    for place, word in enumerate(words):
        key, equals, text = word.partition("=")
        key, text = (key, text) if equals else (fields[place] if place < len(fields) else "", word)
        if key not in fields or key in values:
            takes = f"takes {', '.join(fields)}" if fields else "takes no argument"
            raise InputError(f"`augment={item}`: {name} {takes}")
        values[key] = _convert(item, text, getattr(kind(), key))
    return kind(**values)


def _convert(item: str, text: str, like: Any) -> Any:
    """An argument as the type of its default: a number, or a range as `0.08-1`."""
    try:
        if isinstance(like, tuple):
            low, high = re.fullmatch(rf"({NUMBER})-({NUMBER})", text).groups()  # type: ignore[union-attr]
            return float(low), float(high)
        return type(like)(text)
    except (ValueError, AttributeError) as error:
        wanted = "a range, as 0.08-1" if isinstance(like, tuple) else f"a number, as {like}"
        raise InputError(f"`augment={item}`: {text!r} is not {wanted}") from error
