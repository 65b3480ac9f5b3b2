"""Confusion matrices as pictures: of few and of many classes, with whatever names."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.report.confusion import COUNTS, SHARES, save_confusions

PALEST = (247, 251, 255)


def colours(path: Path) -> Counter[tuple[int, int, int]]:
    """Pixels by colour."""
    pixels = np.asarray(Image.open(path).convert("RGB")).reshape(-1, 3)
    values, counts = np.unique(pixels, axis=0, return_counts=True)
    return Counter({tuple(value): int(n) for value, n in zip(values.tolist(), counts.tolist(), strict=True)})


def cells(path: Path) -> list[tuple[int, int, int]]:
    """The colours of the four cells of two classes, darkest first; of the bar beside them there are fewer."""
    shown = colours(path)
    cell = max(n for colour, n in shown.items() if colour != (255, 255, 255))
    found = [colour for colour, n in shown.items() if n > cell / 4 and colour != (255, 255, 255)]
    return sorted(found, key=sum)


def test_images_and_shares(tmp_path: Path) -> None:
    """40 of a, all right; 10 of b, half of them taken for a."""
    save_confusions(tmp_path, np.array([[40, 0], [5, 5]]), ["a", "b"])
    assert not list(tmp_path.glob("*.tmp"))
    all_right, half, none = cells(tmp_path / SHARES)
    assert none == PALEST
    assert colours(tmp_path / SHARES)[half] > 1.5 * colours(tmp_path / SHARES)[none], "two cells of 50 %"
    most, few, _ = cells(tmp_path / COUNTS)
    assert most == all_right
    assert sum(few) > sum(half), "5 of 40 is paler than 5 of 10"


@pytest.mark.parametrize("classes", [1, 2, 10, 40, 41, 200])
def test_any_number_of_classes(tmp_path: Path, classes: int) -> None:
    save_confusions(tmp_path, np.eye(classes, dtype=np.int64), [f"class {i}" for i in range(classes)])
    for name in (COUNTS, SHARES):
        image = Image.open(tmp_path / name)
        assert 400 < image.width < 2200
        assert (tmp_path / name).stat().st_size < 500_000


def test_a_class_without_images_is_pale(tmp_path: Path) -> None:
    save_confusions(tmp_path, np.array([[3, 1], [0, 0]]), ["a", "b"])
    assert cells(tmp_path / SHARES)[-1] == PALEST


@pytest.mark.parametrize("name", ["a$b$c", "$\\frac", "中文", "line\nend", "x" * 300, ""])
def test_names_are_shown_as_they_are(tmp_path: Path, name: str) -> None:
    """No formula, no warning on the console, and no picture that a long name fills."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        save_confusions(tmp_path, np.array([[3, 1], [1, 3]]), [name, "b"])
    assert Image.open(tmp_path / COUNTS).width < 1200
