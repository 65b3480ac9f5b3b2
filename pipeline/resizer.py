"""Resizes windows of images on the host, many in one call."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.cropper import factors


class Resizer:
    """Resizes windows to one size, bilinear with antialiasing, mirrors and optionally normalises them.

    The compiled kernel, without which there is none: see `make_resizer`. It gives the bytes of torch's `interpolate`,
    without a call, a tensor and the GIL for each image. Several threads may call one resizer.

    Args:
        output: (height, width) of the results in pixels.
        mean, std: per channel RGB, in 0..1; without them pixels stay uint8.
    """

    def __init__(
        self, output: tuple[int, int], mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        self._output = output
        self._scale, self._shift = factors(mean, std, output[1])

    def __call__(
        self,
        addresses: NDArray[np.uint64],
        sizes: NDArray[np.int32],
        window: NDArray[np.int32],
        flip: NDArray[np.bool_],
        out: NDArray[Any],
    ) -> None:
        """Writes the resized windows into `out`.

        Args:
            addresses: uint64 [B], of images in memory, uint8 [height, width, 3] each, that stay there during the call.
            sizes: int32 [B, 2], their height and width in pixels; or [1, 2] for all.
            window: int32 [B, 4], (y, x, height, width) in pixels, inside its image.
            flip: bool [B], which results to mirror.
            out: [B, height, width, 3], contiguous; float32 if normalised, else uint8.

        Raises:
            ValueError: if a window is not inside its image.
        """
        assert compiled.kernels is not None
        window = np.ascontiguousarray(window)
        compiled.kernels.resize(addresses, sizes, window, flip, out, self._output, self._scale, self._shift)


def in_memory(images: Iterable[NDArray[np.uint8]]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """The addresses and sizes of images, uint8 [height, width, 3] each, as a resizer takes them."""
    addresses = np.array([image.ctypes.data for image in images], dtype=np.uint64)
    return addresses, np.array([image.shape[:2] for image in images], dtype=np.int32)


def make_resizer(output: tuple[int, int], *normalise: Sequence[float]) -> Resizer | None:
    """A resizer, or None where the kernel is not compiled."""
    return None if compiled.kernels is None else Resizer(output, *normalise)
