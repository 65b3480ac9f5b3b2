"""What an augmentation is."""

from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, Part

Size = tuple[int, int]  # (height, width) in pixels


class Crop(Protocol):
    """Chooses the window of an image that becomes the input. A list has at most one crop.

    Attributes:
        name: its name in lists.
        inside: whether every window is inside its image.
        random: whether windows depend on the draw.
    """

    name: ClassVar[str]

    @property
    def inside(self) -> bool: ...

    @property
    def random(self) -> bool: ...

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
    def parts(self) -> tuple[tuple[Part, ...], ...]: ...

    def edits(self, draw: Draw, output: Size) -> list[Edit]:
        """The edits of some images of `output`'s size, in order."""
