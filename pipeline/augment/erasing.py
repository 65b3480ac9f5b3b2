"""`erasing:p=0.25:scale=0.02-0.33:ratio=0.3-3.3`: a box of some images is filled with the mean."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from feedline.pipeline.augment.types import Size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, EditPart
from feedline.pipeline.plan.philox import STREAM_ERASE, below, unit


@dataclass(frozen=True)
class Erasing:
    """Random erasing (Zhong et al., AAAI 2020).

    The box is filled with the mean that is subtracted afterwards, rounded to a level of 255: zero, to half a level, in
    what the model sees. A box that is longer than the image's side is cut off, where torchvision draws again.

    Attributes:
        p: share of the images.
        scale: share of the input's area that a box covers, lowest and highest.
        ratio: its height / width, lowest and highest; the logarithm is uniform.

    Raises:
        InputError: if a share is not in 0..1, or a range is empty.
    """

    name: ClassVar[str] = "erasing"
    parts: ClassVar[tuple[tuple[EditPart, ...], ...]] = (("erase",),)

    p: float = 0.25
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise InputError(f"`augment={self.name}:p={self.p:g}`: p must be from 0 to 1")
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"`augment={self.name}`: the scale must be a range in 0..1, as scale=0.02-0.33")
        if not 0.01 <= self.ratio[0] <= self.ratio[1] <= 100:
            raise InputError(f"`augment={self.name}`: the ratio must be a range in 0.01..100, as ratio=0.3-3.3")

    def edits(self, draw: Draw, output: Size) -> list[Edit]:
        """One, with a box for each image; of no size where nothing is erased."""
        words = draw.words(STREAM_ERASE)
        chosen = unit(words[0])
        erased = chosen < self.p
        share = np.where(erased, chosen, 0) / (self.p or 1)  # uniform in 0..1 where something is erased
        area = output[0] * output[1] * (self.scale[0] + share * (self.scale[1] - self.scale[0]))
        low, high = np.log(self.ratio)
        ratio = np.exp(low + unit(words[1]) * (high - low))
        height = np.clip(np.rint(np.sqrt(area * ratio)).astype(np.int64), 1, output[0])
        width = np.clip(np.rint(np.sqrt(area / ratio)).astype(np.int64), 1, output[1])
        y, x = below(words[2], output[0] - height + 1), below(words[3], output[1] - width + 1)
        box = np.stack([y, x, height, width], axis=1) * erased[:, None]
        return [Edit(erase=box.astype(np.int32))]
