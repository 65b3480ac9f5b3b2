"""Cuts windows out of images on the host: out of one image, or out of many in one call."""

import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from feedline.pipeline import compiled


def crop_one(image: NDArray[np.uint8], window: Sequence[int]) -> NDArray[np.uint8]:
    """A copy of a window (y, x, height, width) of an image [H, W, 3]: uint8 [height, width, 3].

    Pixels outside the image are zero.
    """
    y, x, height, width = window
    top, left = max(y, 0), max(x, 0)
    bottom, right = (max(min(a, b), 0) for a, b in zip((y + height, x + width), image.shape[:2], strict=True))
    inside = image[top:bottom, left:right]
    if inside.shape[:2] == (height, width):
        return inside.copy()
    out = np.zeros((height, width, 3), dtype=np.uint8)
    if top < bottom and left < right:
        out[top - y : bottom - y, left - x : right - x] = inside
    return out


Factors: TypeAlias = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]


def factors(mean: Sequence[float] | None, std: Sequence[float] | None, width: int) -> Factors:
    """(x / 255 - mean) / std as x * scale + shift, with factors for a row of `width` pixels: float32 [3 * width] each.

    Loops over three channels are slow. Without mean and std, for pixels that stay uint8, both are None.
    """
    if mean is None or std is None:
        return None, None
    scale, shift = 1 / (255 * np.array(std)), 0.0 - np.array(mean) / np.array(std)  # 0 and not -0 for a mean of 0
    return np.tile(scale, width).astype(np.float32), np.tile(shift, width).astype(np.float32)


class Cropper:
    """Cuts windows of one size out of images of one size, mirrors and optionally normalises them.

    The compiled kernel does it in one pass without the GIL: 5 us per 64x64 image to float32 (bench.stages). Without
    the kernel, numpy and torch give the same bits in up to four times the time. Several threads may call one cropper.

    Args:
        output: (height, width) of the windows in pixels.
        mean, std: per channel RGB, in 0..1; without them pixels stay uint8.
    """

    BLOCK = 64  # images per call without the kernel: fewer need more calls, more do not fit in a core's cache

    def __init__(
        self, output: tuple[int, int], mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        self._output = output
        self._whole = np.array([[0, 0, *output]], dtype=np.int32)
        self._scale, self._shift = factors(mean, std, output[1])
        self._thread = threading.local()

    def __call__(
        self,
        images: NDArray[np.uint8],
        ids: NDArray[np.int64],
        window: NDArray[np.int32],
        flip: NDArray[np.bool_],
        out: NDArray[Any],
    ) -> None:
        """Writes the windows into `out`. Pixels outside an image are zero (before normalisation).

        Args:
            images: uint8 [N, H, W, 3], contiguous.
            ids: int64 [B], indices into `images`.
            window: int32 [B, 4], (y, x, height, width) in pixels; height and width are those of the output.
            flip: bool [B], which windows to mirror.
            out: [B, height, width, 3], contiguous; float32 if normalised, else uint8.

        Raises:
            IndexError: if an id is out of range.
            ValueError: if a window has a different size.
        """
        if window.strides[0] == 0:  # the same window for all images
            window = window[:1]
        size = images.shape[1:3]
        if compiled.kernels is not None:
            compiled.kernels.crop(images, size, ids, window, flip, out, self._output, self._scale, self._shift)
            return
        if (window[:, 2:] != self._output).any():
            raise ValueError(f"crop: a window is not of size {self._output}")
        window = np.broadcast_to(window, (len(ids), 4))
        for first in range(0, len(ids), self.BLOCK):
            part = slice(first, first + self.BLOCK)
            pixels = self._block_cropper(size)(images, ids[part], window[part], flip[part])
            if self._scale is None or self._shift is None:
                out[part] = pixels
                continue
            rows = torch.from_numpy(out[part]).flatten(2)
            rows.copy_(torch.from_numpy(pixels).flatten(2))
            rows.mul_(torch.from_numpy(self._scale)).add_(torch.from_numpy(self._shift))

    def whole(self, images: NDArray[np.uint8], ids: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Writes images of the output's size into `out`, as a call does with windows."""
        self(images, ids, self._whole, np.zeros(len(ids), dtype=bool), out)

    def _block_cropper(self, size: tuple[int, ...]) -> "_BlockCropper":
        """The cropper of this thread; each has its own working memory."""
        if getattr(self._thread, "size", None) != size:
            self._thread.size, self._thread.cropper = size, _BlockCropper((size[0], size[1]), self.BLOCK)
        cropper: _BlockCropper = self._thread.cropper
        return cropper


class _BlockCropper:
    """Cuts windows with numpy and torch, a block of images per call.

    Image by image, most of the time would be spent in Python, under the GIL. A block fits in a core's cache.

    Args:
        size: (height, width) of the images in pixels.
        block: maximum number of images per call.
    """

    def __init__(self, size: tuple[int, int], block: int) -> None:
        self._size, self._block = size, block
        self._images = np.empty((block, *size, 3), dtype=np.uint8)
        self._margin = -1
        self._padded = np.empty((0, 0, 0), dtype=np.uint8)

    def __call__(
        self,
        images: NDArray[np.uint8],
        ids: NDArray[np.int64],
        window: NDArray[np.int32],
        flip: NDArray[np.bool_],
    ) -> NDArray[np.uint8]:
        """Returns the windows, mirrored where `flip` is set: uint8 [B, height, width, 3], valid until the next call."""
        (height, width), count = self._size, len(ids)
        h, w = window[0, 2:].tolist()
        y, x = window[:, 0].astype(np.int64), window[:, 1].astype(np.int64)
        outside = max(-y.min(), -x.min(), (y + h).max() - height, (x + w).max() - width, 0)
        pixels, mirrored = self._images[:count], int(np.count_nonzero(flip))
        if (h, w) == self._size and not outside and not mirrored:
            return self._take(images, ids, pixels)
        self._make_margin(int(outside))
        # Images to be mirrored go last, so that one call mirrors all of them; `position` restores the order.
        order = np.argsort(flip, kind="stable")
        position = np.empty(count, dtype=np.int64)
        position[order] = np.arange(count)
        self._take(images, ids[order], pixels)
        margin, straight = self._margin, count - mirrored
        inner = self._padded[:count, margin : margin + height, 3 * margin : 3 * (margin + width)]
        rows = pixels.reshape(count, height, width * 3)
        inner[:straight] = rows[:straight]
        inner[straight:] = _mirror(pixels[straight:]).reshape(mirrored, height, width * 3)
        stride = self._padded.shape[2]
        left = np.where(flip, width - x - w, x)
        starts = (position * self._padded.shape[1] + y + margin) * stride + 3 * (left + margin)
        last = self._padded.size - (h - 1) * stride - 3 * w
        windows = as_strided(self._padded.reshape(-1), (last + 1, h, 3 * w), (1, stride, 1), writeable=False)
        return windows[starts].reshape(count, h, w, 3)

    @staticmethod
    def _take(images: NDArray[np.uint8], ids: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if len(ids) and not 0 <= ids.min() <= ids.max() < len(images):
            raise IndexError(f"crop: images {ids.min()} to {ids.max()} of {len(images)}")
        return images.take(ids, axis=0, out=out, mode="clip")  # other modes make a copy

    def _make_margin(self, pixels: int) -> None:
        """Allocates images with a border of zeros, for windows that reach outside; the border stays zero."""
        if pixels > self._margin:
            height, width = self._size
            self._margin = pixels
            self._padded = np.zeros((self._block, height + 2 * pixels, (width + 2 * pixels) * 3), dtype=np.uint8)


def _mirror(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mirrors uint8 [B, H, W, 3] left to right. torch has a vectorised loop for this, numpy does not."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1).numpy()
