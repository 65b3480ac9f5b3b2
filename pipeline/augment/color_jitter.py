"""`color-jitter:brightness=0.4:contrast=0.4:saturation=0.4:hue=0`: random changes of color."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from feedline.pipeline.augment import colors
from feedline.pipeline.augment.types import Size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, EditPart
from feedline.pipeline.plan.philox import STREAM_COLOR, unit


@dataclass(frozen=True)
class ColorJitter:
    """Changes brightness, contrast, saturation and hue, in this order, by random factors.

    As torchvision's ColorJitter, except that contrast is around mid gray instead of the image's mean, hue turns in YIQ
    instead of HSV, the order is fixed, and levels are rounded and clamped once instead of after each change.

    Attributes:
        brightness, contrast, saturation: factors are from max(0, 1 - this) to 1 + this, each as likely.
        hue: turns are from -this to this; half a turn at most.

    Raises:
        InputError: if a value is out of range.
    """

    name: ClassVar[str] = "color-jitter"
    parts: ClassVar[tuple[tuple[EditPart, ...], ...]] = (("color",),)

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.0

    def __post_init__(self) -> None:
        for field, most in (("brightness", 10), ("contrast", 10), ("saturation", 10), ("hue", 0.5)):
            value = getattr(self, field)
            if not 0 <= value <= most:
                raise InputError(f"`augment={self.name}:{field}={value:g}`: the {field} must be from 0 to {most}")

    def edits(self, draw: Draw, output: Size) -> list[Edit]:
        """One, with a matrix for each image."""
        b, c, s, h = (unit(word) for word in draw.words(STREAM_COLOR))
        matrix = colors.brightness(_factors(b, self.brightness))
        matrix = colors.then(matrix, colors.contrast(_factors(c, self.contrast)))
        matrix = colors.then(matrix, colors.saturation(_factors(s, self.saturation)))
        if self.hue:
            matrix = colors.then(matrix, colors.hue((2 * h - 1) * self.hue))
        return [Edit(color=matrix.astype(np.float32))]


def _factors(u: colors.Factors, strength: float) -> colors.Factors:
    low = max(0.0, 1 - strength)
    return low + u * (1 + strength - low)
