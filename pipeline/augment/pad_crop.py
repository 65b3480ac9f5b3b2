"""`pad-crop:4`: a window of the image's size, shifted; what it sees outside the image is zero."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.augment.types import Size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.philox import STREAM_WINDOW, below


@dataclass(frozen=True)
class PadCrop:
    """A crop of the zero-padded image, as torchvision's RandomCrop(size, padding) takes it.

    Attributes:
        padding: the largest shift in each direction, in pixels.

    Raises:
        InputError: if the padding is negative or larger than any image.
    """

    name: ClassVar[str] = "pad-crop"
    MOST: ClassVar[int] = 1 << 16  # the largest side that a dataset may have

    padding: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.padding <= self.MOST:
            raise InputError(
                f"`augment={self.name}:{self.padding}`: the padding must be at least 0 and at most {self.MOST}"
            )

    @property
    def inside(self) -> bool:
        return self.padding == 0

    @property
    def random(self) -> bool:
        return self.padding > 0

    def window_size(self, image: Size, output: Size) -> Size | None:
        """The image's own."""
        return image

    def windows(self, draw: Draw, output: Size) -> NDArray[np.int32]:
        """Shifts of -padding..padding, each as likely."""
        _, y, x, _ = draw.words(STREAM_WINDOW)
        shift = np.stack([below(y, 2 * self.padding + 1), below(x, 2 * self.padding + 1)], axis=1)
        return np.concatenate([shift - self.padding, draw.sizes], axis=1).astype(np.int32)
