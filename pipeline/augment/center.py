"""`center`: the middle of the image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.augment.types import Size, largest_windows, of_one_size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw


@dataclass(frozen=True)
class Center:
    """The largest centred window of the output's shape, times a fraction.

    Attributes:
        fraction: of its sides, in (0, 1].

    Raises:
        InputError: if the fraction is outside.
    """

    name: ClassVar[str] = "center"
    inside: ClassVar[bool] = True

    fraction: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise InputError(f"`augment={self.name}:{self.fraction:g}`: the fraction must be above 0 and at most 1")

    def window_size(self, image: Size, output: Size) -> Size | None:
        """One for all images of a size."""
        height, width = self._windows(np.array([image], dtype=np.int64), output)[0, 2:].tolist()
        return height, width

    def windows(self, draw: Draw, output: Size) -> NDArray[np.int32]:
        """Nothing is drawn."""
        windows = self._windows(of_one_size(draw.sizes), output)
        return windows if len(windows) == len(draw.sizes) else np.broadcast_to(windows, (len(draw.sizes), 4))

    def _windows(self, sizes: NDArray[np.int64], output: Size) -> NDArray[np.int32]:
        side = largest_windows(sizes, output, self.fraction)
        return np.concatenate([(sizes - side) // 2, side], axis=1).astype(np.int32)
