"""What evaluation does to an image, for images that are in no dataset folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from feedline.pipeline.augment import Center
from feedline.pipeline.cropper import Cropper
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.dataset.pillow import to_pixels
from feedline.pipeline.engines.resize import crop_and_resize
from feedline.pipeline.errors import InputError
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.resizer import in_memory, make_resizer

AnyImage: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True)
class Preprocess:
    """Decodes, crops the centre, resizes and normalises, as a loader's val part does, to the bit.

    ::

        batch = preprocess(["cat.jpg", "dog.png"])    # float32 [2, 3, height, width]

    Attributes:
        size: (height, width) of the result in pixels.
        crop_fraction: side of the centre window / the largest that fits.
        mean, std: per channel RGB, in 0..1.
    """

    size: tuple[int, int]
    crop_fraction: float = 0.875
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD

    def __call__(self, images: "AnyImage | Sequence[AnyImage]") -> torch.Tensor:
        """Makes a batch.

        Args:
            images: one image or several: the path or the bytes of a file, a PIL image, or uint8 [height, width, 3].

        Returns:
            float32 [B, 3, height, width] in channels-last memory; B is 1 for one image.

        Raises:
            InputError: if an image cannot be read or decoded; a path is named.
        """
        return self.batch(_read(images))

    def batch(self, images: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        """Makes a batch of images that are decoded, uint8 [height, width, 3] each; as a call. Threads may share it."""
        out = np.empty((len(images), *self.size, 3), dtype=np.float32)
        window, resizer = self._windows(images), make_resizer(self.size, self.mean, self.std)
        if resizer is None:
            Cropper(self.size, self.mean, self.std).whole(self._resized(images, window), np.arange(len(images)), out)
        elif len(images):
            resizer(*in_memory(images), window, np.zeros(len(images), dtype=bool), out)
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    def pixels(self, images: "AnyImage | Sequence[AnyImage]") -> NDArray[np.uint8]:
        """As a call, but not normalised: uint8 [B, height, width, 3]."""
        decoded = _read(images)
        window, resizer = self._windows(decoded), make_resizer(self.size)
        if resizer is None or not decoded:
            return self._resized(decoded, window)
        out = np.empty((len(decoded), *self.size, 3), dtype=np.uint8)
        resizer(*in_memory(decoded), window, np.zeros(len(decoded), dtype=bool), out)
        return out

    def _windows(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.int32]:
        """The centre of each image: int32 [B, 4]."""
        sizes = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        draw = Draw(np.zeros(len(images), dtype=np.int64), sizes, seed=0, epoch=0)  # a centre is not drawn
        return Center(self.crop_fraction).windows(draw, self.size)

    def _resized(self, images: Sequence[NDArray[np.uint8]], window: NDArray[np.int32]) -> NDArray[np.uint8]:
        """The windows without the kernel: uint8 [B, height, width, 3]."""
        out = np.empty((len(images), *self.size, 3), dtype=np.uint8)
        for image, box, slot in zip(images, window.tolist(), out, strict=True):
            slot[:] = crop_and_resize(image, box, self.size).numpy()
        return out


def _read(images: "AnyImage | Sequence[AnyImage]") -> list[NDArray[np.uint8]]:
    """One image or several, decoded."""
    several: Any = [images] if isinstance(images, (str, Path, bytes, Image.Image, np.ndarray)) else images
    return [read_pixels(image) for image in several]


def read_pixels(image: AnyImage) -> NDArray[np.uint8]:
    """An image, upright: uint8 RGB [height, width, 3].

    Raises:
        InputError: if it cannot be read or decoded, or is something else.
    """
    if isinstance(image, (str, os.PathLike)):
        try:
            return np.ascontiguousarray(decode(Path(image).read_bytes()).pixels)
        except DecodeError as error:
            raise InputError(f"{image}: does not decode ({error})") from error
        except OSError as error:
            raise InputError(f"{image}: cannot be read ({error.strerror or error})") from error
    if isinstance(image, bytes):
        try:
            return np.ascontiguousarray(decode(image).pixels)
        except DecodeError as error:
            raise InputError(f"these {len(image):,} bytes do not decode ({error})") from error
    if isinstance(image, Image.Image):
        try:
            return to_pixels(image).pixels
        except DecodeError as error:
            raise InputError(f"this PIL image does not decode ({error})") from error
    array: Any = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise InputError(
            f"an image must be a path, bytes, a PIL image or uint8 [height, width, 3], here {array.dtype} "
            f"{list(array.shape)}"
        )
    return np.ascontiguousarray(array)
