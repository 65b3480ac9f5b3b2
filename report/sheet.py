"""Pictures with their captions in one PNG."""

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from feedline.output import one_line
from feedline.pipeline.files import replacing
from feedline.report.page import Picture

COLUMNS = 4
GAP, LINE, TEXT = 12, 18, 13  # pixels: between pictures, a line of text, the size of its letters
INK, QUIET = "#1b1f24", "#59636e"


def save_sheet(path: Path, pictures: Sequence[Picture], title: str) -> None:
    """Writes a PNG, whole or not at all: a title, and pictures in rows with caption and note below each.

    Drawn with Pillow, which takes a tenth of a second for 16 pictures; axes of matplotlib take two.

    Args:
        path: of the file.
        pictures: one at least.
        title: a line above them.
    """
    images = [Image.open(io.BytesIO(picture.data)) for picture in pictures]
    width, height = (max(side) for side in zip(*(image.size for image in images), strict=True))
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    across, down = width + GAP, height + 2 * LINE + GAP
    sheet = Image.new("RGB", (columns * across + GAP, rows * down + LINE + 2 * GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), _cut(title, sheet.width - 2 * GAP), INK, _font())
    for number, (image, picture) in enumerate(zip(images, pictures, strict=True)):
        row, column = divmod(number, columns)
        x, y = GAP + column * across, 2 * GAP + LINE + row * down
        sheet.paste(image, (x, y))
        for line, (text, colour) in enumerate(((picture.caption, INK), (picture.note, QUIET))):
            draw.text((x, y + height + 2 + line * LINE), _cut(text, width), colour, _font())
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG", compress_level=2)


def _cut(text: str, width: int) -> str:
    """As much of a text as a line holds."""
    text = one_line(text)
    if _font().getlength(text) <= width:
        return text
    length = len(text)
    while length and _font().getlength(text[:length] + "…") > width:
        length -= 1
    return text[:length] + "…"


@lru_cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), TEXT)
