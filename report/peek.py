"""What a batch looks like: each image beside its original, with its window drawn and what was done to it named."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from feedline.report.page import Picture

SIDE = 160  # pixels: the sides of the two pictures at most
WINDOW = "#ff3b30"


@dataclass(frozen=True)
class Seen:
    """An image of a batch.

    Attributes:
        original: uint8 RGB [height, width, 3].
        window: (y, x, height, width) in pixels of the original; it may reach outside.
        result: uint8 RGB [height, width, 3], as the network gets it before normalising.
        name: of its class.
        done: what was done to it, as `flip, color-jitter`.
        path: of the image in the dataset.
    """

    original: NDArray[np.uint8]
    window: tuple[int, int, int, int]
    result: NDArray[np.uint8]
    name: str
    done: str
    path: str


def picture_of(seen: Seen) -> Picture:
    """The original with its window, and what became of it, side by side."""
    left, right = _enlarged(_with_window(seen)), _enlarged(Image.fromarray(seen.result))
    both = Image.new("RGB", (left.width + right.width + 6, max(left.height, right.height)), "#808080")
    both.paste(left, (0, (both.height - left.height) // 2))
    both.paste(right, (left.width + 6, (both.height - right.height) // 2))
    file = io.BytesIO()
    both.save(file, "PNG")
    return Picture(file.getvalue(), seen.name, seen.done or "as it is", mime="image/png")


def _with_window(seen: Seen) -> Image.Image:
    """The original with its window drawn, on a canvas that holds both."""
    (height, width), (y, x, h, w) = seen.original.shape[:2], seen.window
    top, left = max(-y, 0), max(-x, 0)
    size = (max(width, x + w) + left, max(height, y + h) + top)
    canvas = Image.new("RGB", size, "#808080")
    canvas.paste(Image.fromarray(seen.original), (left, top))
    box: Any = (x + left, y + top, x + left + w - 1, y + top + h - 1)
    ImageDraw.Draw(canvas).rectangle(box, outline=WINDOW, width=max(1, max(size) // 100))
    return canvas


def _enlarged(image: Image.Image) -> Image.Image:
    """An image as large as `SIDE` allows; the pixels of small ones stay squares."""
    return image.resize(_fitted(image.size), Image.Resampling.NEAREST if max(image.size) < SIDE // 2 else None)


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    """A size as large as `SIDE` allows."""
    scale = SIDE / max(size)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
