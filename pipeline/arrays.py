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
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
            value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        array = np.array(value)
    except (ValueError, TypeError, RuntimeError, NotImplementedError):  # rows of different lengths, sparse tensors
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise InputError(f"`{name}`: must be an array, tensor or list of numbers, here {_shown(value)}")
    return _read_only(array)


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
    return _read_only(array.astype(np.int64))


def as_weights(name: str, value: Any) -> NDArray[np.float64]:
    """Weights: float64 [n], finite and not negative.

    Raises:
        InputError: if the value is something else.
    """
    array = as_array(name, value).astype(np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any() or (array > 1e200).any():
        raise InputError(f"`{name}`: must be finite numbers from 0 to 1e200 in one row, here {_shown(array)}")
    return array


def named_columns(value: Any) -> tuple[str, ...]:
    """The columns of a dataset that `targets` names; none if it is an array."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, (list, tuple)) and value and isinstance(value[0], str) else ()


def as_targets(name: str, value: Any) -> NDArray[Any]:
    """Targets, one row an image: numbers as float32 (float64 if that is torch's default) or int64, or booleans.

    Raises:
        InputError: if the value is something else.
    """
    array = as_array(name, value)
    if array.dtype.kind == "f":
        kept = array.astype(np.float64 if torch.get_default_dtype() == torch.float64 else np.float32)
        if np.isinf(kept).any() and not np.isinf(array).any():
            raise InputError(f"`{name}`: holds numbers that float32 does not reach")
        return _read_only(kept)
    return array if array.dtype.kind == "b" else _read_only(array.astype(np.int64))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"a {type(value).__name__}" + (" of other things" if isinstance(value, (list, tuple)) else "")
