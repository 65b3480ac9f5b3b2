"""Pictures in one PNG."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.report.page import Picture
from feedline.report.sheet import save_sheet


def picture(colour: str, size: tuple[int, int] = (100, 60), caption: str = "c") -> Picture:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return Picture(file.getvalue(), caption, "note")


def pixels(path: Path, colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """How many pixels have a colour, and where the first is (y, x)."""
    found = np.argwhere((np.asarray(Image.open(path)) == colour).all(axis=2))
    return len(found), int(found[0][0]), int(found[0][1])


def test_every_picture_is_there_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    save_sheet(path, [*[picture("red")] * 4, picture("lime"), picture("blue", (100, 30))], "title")
    assert pixels(path, (255, 0, 0))[0] == 4 * 6000
    red, lime, blue = (pixels(path, c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255)))
    assert lime[1] >= red[1] + 60, "the fifth begins a row"
    assert blue[0] == 3000
    assert blue[2] >= lime[2] + 100, "side by side"
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("caption", ["w" * 500, "中文", "two\nlines", "$x$", ""])
def test_texts_stay_below_their_picture(tmp_path: Path, caption: str) -> None:
    save_sheet(tmp_path / "a.png", [picture("red", caption="c")] * 2, "title")
    save_sheet(tmp_path / "b.png", [picture("red", caption=caption)] * 2, "t" * 500)
    assert Image.open(tmp_path / "a.png").size == Image.open(tmp_path / "b.png").size
    assert pixels(tmp_path / "a.png", (255, 0, 0)) == pixels(tmp_path / "b.png", (255, 0, 0)) == (12000, 42, 12)
