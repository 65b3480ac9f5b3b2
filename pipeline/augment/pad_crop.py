"""`pad-crop:4`: the largest window of the output's shape, anywhere in the zero-padded image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.augment.types import Size, largest_windows, of_one_size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.philox import STREAM_WINDOW, below


@dataclass(frozen=True)
class PadCrop:
    """A crop of the zero-padded image, as torchvision's RandomCrop(size, padding) takes it.

    Images of another shape than the output's are not squeezed: their window is as large as fits, and lies anywhere
    along the longer side.

    Attributes:
        padding: how far a window reaches outside, in pixels of the image.

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

    def window_size(self, image: Size, output: Size) -> Size | None:
        """The image's own, if it has the output's shape."""
        height, width = largest_windows(np.array([image], dtype=np.int64), output)[0].tolist()
        return height, width

    def windows(self, draw: Draw, output: Size) -> NDArray[np.int32]:
        """All places in the padded image are as likely."""
        _, y, x, _ = draw.words(STREAM_WINDOW)
        sizes = of_one_size(draw.sizes)
        side = largest_windows(sizes, output)
        places = sizes - side + 2 * self.padding + 1
        corner = np.stack([below(y, places[:, 0]), below(x, places[:, 1])], axis=1) - self.padding
        return np.concatenate([corner, np.broadcast_to(side, corner.shape)], axis=1).astype(np.int32)
