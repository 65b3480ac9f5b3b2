"""Arrays as options: from lists, numpy and torch, checked."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError

ArrayOption: TypeAlias = NDArray[Any] | torch.Tensor | Sequence[Any]


def as_array(name: str, value: Any) -> NDArray[Any]:
    """A copy of an option's value as an array of numbers or booleans that cannot be changed.

    Raises:
        InputError: if it is none.
    """
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    try:
        array = np.array(value)
    except (ValueError, TypeError):  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise InputError(f"`{name}`: must be an array, tensor or list of numbers, here {_shown(value)}")
    array.setflags(write=False)
    return array


def as_ids(name: str, value: Any) -> NDArray[np.int64]:
    """Image ids: int64 [n], each once.

    Raises:
        InputError: if the value is something else.
    """
    array = as_array(name, value)
    if not array.size:
        raise InputError(f"`{name}`: holds no image id")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        hint = "; for a mask take np.flatnonzero(mask)" if array.dtype.kind == "b" else ""
        raise InputError(f"`{name}`: must be image ids, whole numbers in one row, here {_shown(array)}{hint}")
    if len(np.unique(array)) < len(array):
        raise InputError(f"`{name}`: an image id comes twice; `weights` draws images more often than others")
    return array.astype(np.int64)


def as_weights(name: str, value: Any) -> NDArray[np.float64]:
    """Weights: float64 [n], finite and not negative.

    Raises:
        InputError: if the value is something else.
    """
    array = as_array(name, value).astype(np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or (array > 1e200).any():
        raise InputError(f"`{name}`: must be finite numbers from 0 to 1e200 in one row, here {_shown(array)}")
    return array


def as_targets(name: str, value: Any) -> NDArray[Any]:
    """Targets, one row an image: floating point as torch's default, whole numbers as int64, booleans as they are.

    Raises:
        InputError: if the value is something else.
    """
    array = as_array(name, value)
    if array.dtype.kind == "f":
        default = torch.empty(0, dtype=torch.get_default_dtype()).numpy().dtype
        return array.astype(default)
    return array if array.dtype.kind == "b" else array.astype(np.int64)


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}"
