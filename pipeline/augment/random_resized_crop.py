"""`random-resized-crop:scale=0.08-1:ratio=0.75-1.33`: a window of random size and shape, resized to the output."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.augment.types import Size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.philox import STREAM_ATTEMPT, below, unit


@dataclass(frozen=True)
class RandomResizedCrop:
    """Inception's crop, drawn as torchvision's RandomResizedCrop does.

    The window is the first of ten attempts that fits into the image, else the centre.

    Szegedy et al., "Going deeper with convolutions", CVPR 2015.

    Attributes:
        scale: share of the image's area that a window covers, lowest and highest.
        ratio: its width / height, lowest and highest.

    Raises:
        InputError: if a range is empty, a scale not in 0..1, or a ratio not in 0.01..100.
    """

    name: ClassVar[str] = "random-resized-crop"
    inside: ClassVar[bool] = True
    ATTEMPTS: ClassVar[int] = 10

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"`augment={self.name}`: the scale must be a range in 0..1, as scale=0.08-1")
        if not 0.01 <= self.ratio[0] <= self.ratio[1] <= 100:
            raise InputError(f"`augment={self.name}`: the ratio must be a range in 0.01..100, as ratio=0.75-1.33")

    def window_size(self, image: Size, output: Size) -> Size | None:
        """Varies."""
        return None

    def windows(self, draw: Draw, output: Size) -> NDArray[np.int32]:
        """Each attempt has its own random stream, and covers the images that have no window yet."""
        window = self._fallback(draw.sizes)
        todo = np.arange(len(draw.ids))
        for attempt in range(self.ATTEMPTS):
            candidates, fits = self._attempt(draw.subset(todo), attempt)
            window[todo[fits]] = candidates[fits]
            todo = todo[~fits]
            if not len(todo):
                break
        return window

    def _attempt(self, draw: Draw, attempt: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """A window for each image, int64 [n, 4], and whether it fits into the image, bool [n]."""
        words, (height, width) = draw.words(STREAM_ATTEMPT + attempt), draw.sizes.T
        log_ratio = np.log(self.ratio)
        area = height * width * (self.scale[0] + unit(words[0]) * (self.scale[1] - self.scale[0]))
        ratio = np.exp(log_ratio[0] + unit(words[1]) * (log_ratio[1] - log_ratio[0]))
        w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = (w > 0) & (h > 0) & (w <= width) & (h <= height)
        w, h = np.where(fits, w, 1), np.where(fits, h, 1)
        y, x = below(words[2], height - h + 1), below(words[3], width - w + 1)
        return np.stack([y, x, h, w], axis=1), fits

    def _fallback(self, sizes: NDArray[np.int64]) -> NDArray[np.int32]:
        """The middle of the image, its shape moved into the allowed ratios."""
        height, width = sizes[:, 0], sizes[:, 1]
        w = np.minimum(width, np.rint(height * self.ratio[1]).astype(np.int64))
        h = np.minimum(height, np.rint(width / self.ratio[0]).astype(np.int64))
        side = np.clip(np.stack([h, w], axis=1), 1, sizes)
        return np.concatenate([(sizes - side) // 2, side], axis=1).astype(np.int32)
