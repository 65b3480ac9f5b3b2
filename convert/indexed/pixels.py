"""Images as datasets hand them out: each becomes the bytes of a file, or pixels."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from feedline.convert.stored import Content
from feedline.pipeline.dataset.decode import DecodeError
from feedline.pipeline.dataset.pillow import bits, to_pixels
from feedline.pipeline.errors import InputError

TAKEN = (
    "a PIL image, the bytes of an image file, a uint8 array [H, W], [H, W, 1] or [H, W, 3], or a tensor [H, W], "
    "[1, H, W] or [3, H, W]"
)
# Largest distance from a whole level, in levels of 255: float16 keeps 255 levels to 0.07.
EXACT = 0.1


def read_image(image: Any, where: str) -> Content:
    """What a dataset gives as an image.

    Args:
        image: the image.
        where: names the item in errors.

    Returns:
        The bytes of a file as they are, or a copy of the pixels.

    Raises:
        InputError: if it is no image, or one that 8 bits do not hold exactly.
        Exception: what Pillow or the file system raises for an image that is damaged or missing.
    """
    torch = sys.modules.get("torch")  # whoever has a tensor has imported torch
    if isinstance(image, Mapping) and "bytes" in image:  # Hugging Face's Image(decode=False)
        return bytes(image["bytes"]) if image["bytes"] is not None else Path(image["path"]).read_bytes()
    if isinstance(image, (bytes, bytearray, memoryview)):
        return bytes(image)
    if isinstance(image, Image.Image):
        return _from_pil(image, where)
    if isinstance(image, np.ndarray):
        return _from_array(image, where)
    if torch is not None and isinstance(image, torch.Tensor):
        return _from_tensor(image, where)
    raise InputError(f"{where}: the image is {describe(image)}; taken are {TAKEN}")


def describe(value: Any) -> str:
    """The type of a value, and its shape if it has one, for errors."""
    name, shape = type(value).__name__, getattr(value, "shape", None)
    return f"of type {name}" if shape is None else f"of type {name} with shape {list(shape)}"


def _from_pil(image: Image.Image, where: str) -> NDArray[np.uint8]:
    """The pixels, upright, converted as `decode` converts those of a file."""
    try:
        bits(image)
    except DecodeError as error:
        raise InputError(f"{where}: the image has {error}") from error
    decoded = to_pixels(image)
    return decoded.pixels[:, :, 0].copy() if decoded.gray else decoded.pixels


def _from_array(image: NDArray[Any], where: str) -> NDArray[np.uint8]:
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3):
        return _levels(image, where)
    advice = "; transpose it with .transpose(1, 2, 0)" if image.ndim == 3 and image.shape[0] in (1, 3) else ""
    raise InputError(f"{where}: the image is {describe(image)}; taken are {TAKEN}{advice}")


def _from_tensor(image: Any, where: str) -> NDArray[np.uint8]:
    if image.ndim == 2 or (image.ndim == 3 and image.shape[0] in (1, 3)):
        values = image.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
        return _from_array(values if values.ndim == 2 else values.transpose(1, 2, 0), where)
    advice = "; a tensor has its channels first, permute it with .permute(2, 0, 1)" if image.ndim == 3 else ""
    raise InputError(f"{where}: the image is {describe(image)}; taken are {TAKEN}{advice}")


def _levels(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """A copy as uint8. Floats must be whole levels divided by 255, as ToTensor gives them, so that nothing is lost."""
    if values.size == 0:
        raise ValueError("an image without pixels")
    if values.dtype == np.uint8:
        return np.array(values, order="C")
    if not np.issubdtype(values.dtype, np.floating):
        raise InputError(f"{where}: the image has the dtype {values.dtype}; give uint8, or floats from 0 to 1")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        advice = (
            "leave Normalize out of its transform, the loader normalises"
            if low < 0
            else "give uint8, or divide by the largest value"
        )
        raise InputError(f"{where}: the image has floats from {low:.4g} to {high:.4g}, taken are 0 to 1; {advice}")
    scaled = values.astype(np.float64, order="C") * 255
    rounded = np.rint(scaled)
    if np.abs(scaled - rounded).max() > EXACT:
        raise InputError(
            f"{where}: the image has floats between the 256 levels of 8 bits, which would be lost; leave out the "
            "transform that makes them (the loader resizes), or round them to uint8"
        )
    return rounded.astype(np.uint8)
