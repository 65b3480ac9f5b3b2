from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from feedline.convert.sample import SHAPES, draw_sample
from tests.conftest import convert


def test_each_drawing_gives_the_same_bytes(tmp_path: Path) -> None:
    a, b = (draw_sample(tmp_path / name, train=3, val=2) for name in "ab")
    names = [p.relative_to(a) for p in a.rglob("*") if p.is_file()]
    assert len(names) == len(SHAPES) * (3 + 2 + 1) + 3
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in names)


@pytest.mark.parametrize("penalty", [1e2, 1e4])
def test_a_linear_classifier_on_pixels_does_badly(tmp_path: Path, penalty: float) -> None:
    dataset = convert(draw_sample(tmp_path / "source", train=80, val=20), tmp_path / "out", "--packs", "")

    def part(name: str) -> tuple[np.ndarray, np.ndarray]:
        ids = dataset.ids("official", name)
        pixels = [np.asarray(Image.open(dataset.root / dataset.path(i)).convert("RGB")) for i in ids.tolist()]
        return np.stack(pixels).reshape(len(ids), -1) / 128 - 1, dataset.labels[ids]

    (x, y), (v, w) = part("train"), part("val")
    # Ridge regression on one-hot targets, in dual form: one equation per image instead of one per pixel.
    weights = np.linalg.solve(x @ x.T + penalty * np.eye(len(x)), np.eye(len(SHAPES))[y])
    accuracy = float(((v @ x.T @ weights).argmax(1) == w).mean())
    assert accuracy < 0.3, "chance is 0.1; ResNet18 reaches 0.9"
