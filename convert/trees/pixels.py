"""Arrays of pixels as a tree: each image is a PNG, made when it is read."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.convert.stored import as_file


@dataclass(frozen=True)
class PixelTree:
    """Images from `<name>.npy` files: uint8 [images, height, width] or [images, height, width, 3].

    The image `train[12]` is that at index 12 of `train.npy`.

    Args:
        folder: holds the files.
    """

    folder: Path

    def add(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Writes a file of pixels."""
        np.save(self.folder / f"{name}.npy", pixels)

    def read(self, name: str) -> bytes:
        """See `Readable.read`."""
        array, _, index = name.removesuffix("]").rpartition("[")
        return as_file(np.array(_pixels(self.folder / f"{array}.npy", os.getpid())[int(index)]))[0]


@lru_cache(maxsize=8)
def _pixels(path: Path, process: int) -> NDArray[Any]:
    del process  # part of the cache key only
    pixels: NDArray[Any] = np.load(path, mmap_mode="r")
    return pixels
