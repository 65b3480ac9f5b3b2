"""Edits: what is done to the pixels of windows, after these were resized and mirrored."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

EditPart: TypeAlias = Literal["warp", "color", "solarize", "posterize", "erase"]


@dataclass(frozen=True, slots=True)
class Edit:
    """One edit of the images of a batch: its parts, in this order. A part is None where it is done to no image.

    Each part takes uint8 pixels and gives uint8 pixels; warp and color round to the nearest level.

    Attributes:
        warp: float32 [B, 2, 3], from (x, y, 1) of a pixel's centre in the result, in pixels from the top left corner,
            to (x, y) in the image. Bilinear; what lies outside the image is zero.
        color: float32 [B, 3, 4], from (R, G, B, 1), with R, G, B in 0..255, to R, G, B.
        solarize: int32 [B]: levels from this one on are inverted; 256 for none.
        posterize: uint8 [B]: the bits of a level that are kept.
        erase: int32 [B, 4], (y, x, height, width) in pixels of a box that is filled with the mean, rounded to a level;
            height and width are 0 for none.
    """

    warp: NDArray[np.float32] | None = None
    color: NDArray[np.float32] | None = None
    solarize: NDArray[np.int32] | None = None
    posterize: NDArray[np.uint8] | None = None
    erase: NDArray[np.int32] | None = None

    @property
    def parts(self) -> dict[EditPart, NDArray[Any]]:
        """The parts that are there, by name, in their order."""
        fields = {name: getattr(self, name) for name in NOTHING}
        return {name: array for name, array in fields.items() if array is not None}

    def __getitem__(self, part: slice) -> "Edit":
        return Edit(**{name: array[part] for name, array in self.parts.items()})


# The value of each part that leaves an image as it is.
NOTHING: dict[EditPart, NDArray[Any]] = {
    "warp": np.eye(2, 3, dtype=np.float32),
    "color": np.eye(3, 4, dtype=np.float32),
    "solarize": np.array(256, dtype=np.int32),
    "posterize": np.array(255, dtype=np.uint8),
    "erase": np.zeros(4, dtype=np.int32),
}


def nothing(name: EditPart, images: int) -> NDArray[Any]:
    """A part that leaves all images as they are, to be filled: [images, ...]."""
    return np.repeat(NOTHING[name][None], images, axis=0)
