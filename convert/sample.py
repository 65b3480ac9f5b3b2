"""The built-in sample: labelled images drawn by code, in Tiny ImageNet's exact layout.

Ten classes of shapes. Position, size, rotation, colours and background do not depend on the class, and a shape may be
lighter or darker than its background. So a linear classifier on pixels learns almost nothing, while a convolutional
network learns the classes in minutes.
"""

import io
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

VERSION = 1  # of what is drawn: another one makes other images
SIZE = 64  # pixels, as Tiny ImageNet
_SCALE = 4  # shapes are drawn this many times larger and then reduced, for smooth edges
_QUALITY = 92
_GRAY_SHARE = 0.02  # of images with one channel, about as in Tiny ImageNet

Point = tuple[float, float]
Painter = Callable[[ImageDraw.ImageDraw, float, float, float, float], None]


def _polygon(points: list[Point]) -> Painter:
    """A filled polygon.

    Args:
        points: its corners, at a distance of about 1 from (0, 0).
    """

    def paint(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, tilt: float) -> None:
        cos, sin = math.cos(tilt), math.sin(tilt)
        draw.polygon(
            [(x + radius * (u * cos - v * sin), y + radius * (u * sin + v * cos)) for u, v in points], fill=255
        )

    return paint


def _regular(corners: int, inner: float | None = None) -> Painter:
    """A regular polygon; a star if `inner`, the radius of its inner corners, is given."""
    radii = [1.0] * corners if inner is None else [1.0, inner] * corners
    step = 2 * math.pi / len(radii)
    return _polygon([(r * math.sin(i * step), -r * math.cos(i * step)) for i, r in enumerate(radii)])


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, tilt: float, value: int = 255) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value)


def _ring(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, tilt: float) -> None:
    _disc(draw, x, y, radius, tilt)
    _disc(draw, x, y, 0.55 * radius, tilt, 0)


def _crescent(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, tilt: float) -> None:
    _disc(draw, x, y, radius, tilt)
    _disc(draw, x + 0.5 * radius * math.cos(tilt), y + 0.5 * radius * math.sin(tilt), 0.8 * radius, tilt, 0)


def _stripes(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, tilt: float) -> None:
    for offset in (-0.75, 0.0, 0.75):
        bar = [(-1.0, offset - 0.2), (1.0, offset - 0.2), (1.0, offset + 0.2), (-1.0, offset + 0.2)]
        _polygon(bar)(draw, x, y, radius, tilt)


def _dots(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, tilt: float) -> None:
    for quarter in range(4):
        angle = tilt + quarter * math.pi / 2
        _disc(draw, x + 0.7 * radius * math.cos(angle), y + 0.7 * radius * math.sin(angle), 0.38 * radius, tilt)


_CROSS: list[Point] = [
    (-0.3, -1.0), (0.3, -1.0), (0.3, -0.3), (1.0, -0.3), (1.0, 0.3), (0.3, 0.3),
    (0.3, 1.0), (-0.3, 1.0), (-0.3, 0.3), (-1.0, 0.3), (-1.0, -0.3), (-0.3, -0.3),
]  # fmt: skip
_BAR: list[Point] = [(-1.1, -0.28), (1.1, -0.28), (1.1, 0.28), (-1.1, 0.28)]

SHAPES: dict[str, Painter] = {
    "disc": _disc,
    "ring": _ring,
    "crescent": _crescent,
    "triangle": _regular(3),
    "square": _regular(4),
    "star": _regular(5, 0.4),
    "cross": _polygon(_CROSS),
    "bar": _polygon(_BAR),
    "stripes": _stripes,
    "dots": _dots,
}


def draw_image(shape: str, rng: np.random.Generator) -> Image.Image:
    """One RGB image of `SIZE` x `SIZE` pixels."""
    side = SIZE * _SCALE
    radius = rng.uniform(0.3, 0.45) * side
    x, y = rng.uniform(radius, side - radius, 2)
    mask = Image.new("L", (side, side), 0)
    SHAPES[shape](ImageDraw.Draw(mask), x, y, radius, rng.uniform(0, 2 * math.pi))
    mask = mask.resize((SIZE, SIZE), Image.Resampling.BOX)
    background = _texture(rng)
    return Image.composite(_contrast(background, rng), background, mask)


def _texture(rng: np.random.Generator) -> Image.Image:
    """A random background: soft colours with noise."""
    cells = int(rng.integers(2, 5))
    coarse = Image.fromarray(rng.integers(70, 186, (cells, cells, 3), dtype=np.uint8), "RGB")
    soft = np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC), dtype=np.float32)
    grain = rng.normal(0, rng.uniform(2, 8), (SIZE, SIZE, 1)).astype(np.float32)
    return Image.fromarray(np.clip(soft + grain, 0, 255).astype(np.uint8), "RGB")


def _contrast(background: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The inside of the shape: clearly lighter or darker than the background."""
    step = rng.uniform(70, 120) * rng.choice([-1, 1])
    blurred = np.asarray(background.filter(ImageFilter.GaussianBlur(3)), dtype=np.float32)
    tint = rng.uniform(-25, 25, 3)
    grain = rng.normal(0, rng.uniform(2, 8), (SIZE, SIZE, 1))
    return Image.fromarray(np.clip(blurred + step + tint + grain, 0, 255).astype(np.uint8), "RGB")


def draw_sample(root: Path, *, train: int = 240, val: int = 60, classes: int = len(SHAPES), seed: int = 0) -> Path:
    """Draws the sample into a folder.

    Args:
        root: folder to create.
        train: train images per class.
        val: val images per class.
        classes: use only the first N shapes.
        seed: of the drawing; the same seed gives the same bytes with the same Pillow.

    Returns:
        `root`, in the layout of the official download: wnids.txt, words.txt, train/<wnid>/images/ with
        <wnid>_boxes.txt, val/images/ with val_annotations.txt.
    """
    wnids = {f"n{90000000 + i:08d}": shape for i, shape in enumerate(list(SHAPES)[:classes])}
    (root / "val/images").mkdir(parents=True)
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in wnids))
    (root / "words.txt").write_text("".join(f"{wnid}\t{shape}\n" for wnid, shape in wnids.items()))
    annotations = []
    for label, (wnid, shape) in enumerate(wnids.items()):
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        rng = np.random.default_rng([seed, label])
        names = [f"{wnid}_{i}.JPEG" for i in range(train)]
        for name in names:
            (folder / name).write_bytes(_encode(draw_image(shape, rng), rng))
        boxes = "".join(f"{name}\t0\t0\t{SIZE - 1}\t{SIZE - 1}\n" for name in names)
        (folder.parent / f"{wnid}_boxes.txt").write_text(boxes)
        for i in range(val):
            name = f"val_{i * classes + label}.JPEG"
            (root / "val/images" / name).write_bytes(_encode(draw_image(shape, rng), rng))
            annotations.append(f"{name}\t{wnid}\t0\t0\t{SIZE - 1}\t{SIZE - 1}\n")
    (root / "val/val_annotations.txt").write_text("".join(annotations))
    return root


def _encode(image: Image.Image, rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    (image.convert("L") if rng.random() < _GRAY_SHARE else image).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
