"""Windows out of images on the host: one image after the other, or whole blocks by a few calls."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray


def crop(image: NDArray[np.uint8], window: Sequence[int]) -> NDArray[np.uint8]:
    """A copy of a window (y, x, height, width) of an image [H, W, 3]: uint8 [height, width, 3].

    What lies outside the image is zero.
    """
    y, x, height, width = window
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, image.shape[0]), min(x + width, image.shape[1])
    inside = image[top:bottom, left:right]
    if inside.shape[:2] == (height, width):
        return inside.copy()
    out = np.zeros((height, width, 3), dtype=np.uint8)
    out[top - y : bottom - y, left - x : right - x] = inside
    return out


class BlockCropper:
    """Cuts windows of one size out of images of one size, some at once: 3 us an image of 64x64 (bench.stages).

    An image at a time, most of the work is Python's, under the interpreter's lock. Here numpy and torch copy whole
    blocks, each small enough for a core's cache.

    Args:
        size: (height, width) of the images in pixels.
        block: the most images at once.
    """

    def __init__(self, size: tuple[int, int], block: int) -> None:
        self._size, self._block = size, block
        self._images = np.empty((block, *size, 3), dtype=np.uint8)
        self._margin = -1
        self._padded = np.empty((0, 0, 0), dtype=np.uint8)

    def __call__(
        self,
        gather: Callable[[NDArray[np.int64], NDArray[np.uint8]], None],
        ids: NDArray[np.int64],
        window: NDArray[np.int32],
        flip: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """The windows, mirrored where `flip` says: uint8 [B, height, width, 3], good until the next call.

        Args:
            gather: writes the images of some ids into uint8 [B, H, W, 3].
            ids: int64 [B].
            window: int32 [B, 4], (y, x, height, width) in pixels, all of one height and width.
            flip: bool [B].
        """
        (height, width), count = self._size, len(ids)
        h, w = window[0, 2:].tolist()
        y, x = window[:, 0].astype(np.int64), window[:, 1].astype(np.int64)
        outside = max(-y.min(), -x.min(), (y + h).max() - height, (x + w).max() - width, 0)
        images, mirrored = self._images[:count], int(np.count_nonzero(flip))
        if (h, w) == self._size and not outside and not mirrored:
            gather(ids, images)
            return images
        self._make_margin(int(outside))
        # Images to be mirrored go last, so that one call mirrors them all; the windows put them back in order.
        order = np.argsort(flip, kind="stable")
        place = np.empty(count, dtype=np.int64)
        place[order] = np.arange(count)
        gather(ids[order], images)
        margin, straight = self._margin, count - mirrored
        inner = self._padded[:count, margin : margin + height, 3 * margin : 3 * (margin + width)]
        rows = images.reshape(count, height, width * 3)
        inner[:straight] = rows[:straight]
        inner[straight:] = _mirror(images[straight:]).reshape(mirrored, height, width * 3)
        stride = self._padded.shape[2]
        left = np.where(flip, width - x - w, x)
        starts = (place * self._padded.shape[1] + y + margin) * stride + 3 * (left + margin)
        last = self._padded.size - (h - 1) * stride - 3 * w
        windows = as_strided(self._padded.reshape(-1), (last + 1, h, 3 * w), (1, stride, 1), writeable=False)
        return windows[starts].reshape(count, h, w, 3)

    def _make_margin(self, pixels: int) -> None:
        """Room for windows that reach outside: images with a border of zeros, which stay zero."""
        if pixels > self._margin:
            height, width = self._size
            self._margin = pixels
            self._padded = np.zeros((self._block, height + 2 * pixels, (width + 2 * pixels) * 3), dtype=np.uint8)


def _mirror(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [B, H, W, 3] mirrored left to right; torch has a vector loop for this, numpy none."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1).numpy()
