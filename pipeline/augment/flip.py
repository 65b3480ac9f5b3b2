"""`flip`: half of the images are mirrored, left to right."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.philox import STREAM_WINDOW


@dataclass(frozen=True)
class Flip:
    """Mirrors an image with probability 1/2."""

    name: ClassVar[str] = "flip"

    def flips(self, draw: Draw) -> NDArray[np.bool_]:
        """bool [B]."""
        return (draw.words(STREAM_WINDOW)[0] & np.uint64(1)).astype(bool)
