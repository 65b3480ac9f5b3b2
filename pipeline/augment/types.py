"""What an augmentation is."""

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, EditPart

Size = tuple[int, int]  # (height, width) in pixels


def same_shape(image: Size, output: Size) -> bool:
    """Whether an image has the output's shape, up to a scale."""
    return image[0] * output[1] == image[1] * output[0]


def largest_windows(sizes: NDArray[np.int64], output: Size, fraction: float = 1.0) -> NDArray[np.int64]:
    """The largest size of the output's shape that fits into each image, times a fraction: int64 [B, 2], as `sizes`."""
    shape = np.array(output, dtype=np.float64)
    factor = (sizes / shape).min(axis=1, keepdims=True) * fraction
    return np.clip(np.rint(shape * factor).astype(np.int64), 1, sizes)


def of_one_size(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sizes, int64 [B, 2], as one row where stores say that all images have one size."""
    return sizes[:1] if len(sizes) > 1 and sizes.strides[0] == 0 else sizes


class Crop(Protocol):
    """Chooses the window of an image that becomes the input. A list has at most one crop.

    Attributes:
        name: its name in lists.
        inside: whether every window is inside its image.
    """

    name: ClassVar[str]

    @property
    def inside(self) -> bool: ...

    def window_size(self, image: Size, output: Size) -> Size | None:
        """The size of all windows of images of one size; None if it varies."""

    def windows(self, draw: Draw, output: Size) -> NDArray[np.int32]:
        """int32 [B, 4], (y, x, height, width) in pixels: a window for each image, for a batch of `output`'s size."""


class Editor(Protocol):
    """Changes the pixels of windows, after these were resized and mirrored.

    Attributes:
        name: its name in lists.
        parts: the parts of each of its edits.
    """

    name: ClassVar[str]

    @property
    def parts(self) -> tuple[tuple[EditPart, ...], ...]: ...

    def edits(self, draw: Draw, output: Size) -> list[Edit]:
        """The edits of some images of `output`'s size, in order."""
