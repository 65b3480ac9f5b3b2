"""Image folders as people have them, and the datasets made of them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from feedline import Dataset
from tests.conftest import convert


def draw(folder: Path, count: int, level: int, side: int = 20, seed: int = 0) -> None:
    """Draws noisy images around a gray level, which tells classes apart."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, level])
    for i in range(count):
        pixels = np.clip(rng.normal(level, 40, (side, side, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


def dataset_of(root: Path, train: Mapping[str, int], val: Mapping[str, int], side: int = 20) -> Dataset:
    """A dataset with so many images of each class in `train/` and `val/`."""
    levels = {name: 30 + 190 * i // max(len(train) - 1, 1) for i, name in enumerate(train)}
    for part, (classes, seed) in {"train": (train, 1), "val": (val, 2)}.items():
        for name, count in classes.items():
            draw(root / "source" / part / name, count, levels[name], side, seed)
    return convert(root / "source", root / "data")
