"""What a batch looks like: each image beside its original, with its window drawn and what was done to it named."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
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


def save_grid(path: Path, batch: Sequence[Seen], title: str, columns: int = 4) -> None:
    """Writes a PNG: for each image the original with its window, and what became of it.

    Args:
        path: of the file.
        batch: the images.
        title: above them.
        columns: images in a row.
    """
    columns = min(columns, len(batch))
    rows = -(-len(batch) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.5 * rows + 0.5), layout="constrained")
    figure.suptitle(title, fontsize=11)
    axes = figure.subplots(rows, 2 * columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for number, seen in enumerate(batch):
        row, column = divmod(number, columns)
        before, after = axes[row, 2 * column], axes[row, 2 * column + 1]
        before.imshow(seen.original)
        y, x, height, width = seen.window
        before.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, color=WINDOW, lw=1.5))
        before.set_title(_shortened(seen.name), fontsize=8, loc="left")
        after.imshow(seen.result)
        after.set_title(_shortened(seen.done or "as it is"), fontsize=8, loc="left")
    temporary = path.with_name(path.name + ".tmp")
    figure.savefig(temporary, format="png", dpi=100)
    temporary.replace(path)


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


def _shortened(text: str, limit: int = 28) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
