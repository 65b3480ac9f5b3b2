"""The operations that `trivial-augment` and `rand-augment` choose from, as edits.

Of the papers' fourteen operations, those that both engines do alike: without sharpness, auto-contrast and equalize,
which need a filter or each image's histogram. Contrast is around mid gray (see `colors`); shears, like turns, are about
the centre of the image, and what comes from outside it is zero.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.augment import colors
from feedline.pipeline.augment.types import Size
from feedline.pipeline.plan.edits import Edit, EditPart, nothing
from feedline.pipeline.plan.philox import below

OPERATIONS = (
    "identity", "shear-x", "shear-y", "translate-x", "translate-y", "rotate", "brightness", "color", "contrast",
    "posterize", "solarize",
)  # fmt: skip
PARTS: tuple[EditPart, ...] = ("warp", "color", "solarize", "posterize")
BINS = 30  # strengths are whole numbers from 0 to this


@dataclass(frozen=True)
class Strengths:
    """What the highest strength does.

    Attributes:
        shear: pixels to the side per pixel.
        translate: share of the image's side.
        rotate: degrees.
        color: of brightness, color and contrast: the distance of the factor from 1.
        posterize: bits that are lost.
    """

    shear: float
    translate: float
    rotate: float
    color: float
    posterize: int


def choose(words: NDArray[np.uint64]) -> NDArray[np.int64]:
    """An operation for each random word, each as likely: indices into `OPERATIONS`, int64 [B]."""
    return below(words, len(OPERATIONS))


def edit(
    chosen: NDArray[np.int64], share: NDArray[np.float64], sign: NDArray[np.int64], most: Strengths, output: Size
) -> Edit:
    """One operation for each image.

    Args:
        chosen: int64 [B], indices into `OPERATIONS`.
        share: float64 [B], of the highest strength, 0 to 1.
        sign: int64 [B], 1 or -1: the direction, for operations that have two.
        most: the highest strengths.
        output: (height, width) of the images in pixels.
    """
    name, signed = np.array(OPERATIONS)[chosen], share * sign
    warp, color, solarize, posterize = (nothing(part, len(chosen)) for part in PARTS)
    _warps(warp, name, signed, most, output)
    for operation, change in (
        ("brightness", colors.brightness), ("color", colors.saturation), ("contrast", colors.contrast)
    ):  # fmt: skip
        color[name == operation] = change(1 + most.color * signed[name == operation])
    these = name == "posterize"
    lost = np.rint(most.posterize * share[these]).astype(np.int64)
    posterize[these] = (0xFF << lost) & 0xFF
    these = name == "solarize"
    solarize[these] = np.rint(255 * (1 - share[these]))
    return Edit(warp, color, solarize, posterize)


def _warps(
    warp: NDArray[Any], name: NDArray[np.str_], signed: NDArray[np.float64], most: Strengths, output: Size
) -> None:
    """Writes the matrices of the operations that warp."""
    height, width = output
    angle = np.radians(most.rotate * signed)
    matrix = warp.astype(np.float64)
    matrix[:, 0, 1] += np.where(name == "shear-x", most.shear * signed, 0)
    matrix[:, 1, 0] += np.where(name == "shear-y", most.shear * signed, 0)
    turned = name == "rotate"
    cos, sin = np.cos(angle[turned]), np.sin(angle[turned])
    matrix[turned, :, :2] = np.stack([cos, sin, -sin, cos], axis=1).reshape(-1, 2, 2)
    centre = np.array([width / 2, height / 2])
    matrix[:, :, 2] = centre - matrix[:, :, :2] @ centre
    matrix[:, 0, 2] += np.where(name == "translate-x", width * most.translate * signed, 0)
    matrix[:, 1, 2] += np.where(name == "translate-y", height * most.translate * signed, 0)
    warp[...] = matrix
