"""The kinds of values that options and keys take, read from their annotations."""

import collections.abc
import operator
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch

from feedline.pipeline.errors import InputError, did_you_mean, shown

_NAMES: dict[Any, str] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    torch.dtype: "a torch.dtype",
    torch.device: "a torch.device",
    Sequence[str]: "a list of names",
    Sequence[float]: "a list of numbers",
}


def alternatives(hint: Any) -> tuple[list[Any], list[str]]:
    """The types and the literal words that an annotation allows."""
    if typing.get_origin(hint) is Literal:
        return [], list(typing.get_args(hint))
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        parts = [alternatives(part) for part in typing.get_args(hint)]
        return [kind for kinds, _ in parts for kind in kinds], [word for _, words in parts for word in words]
    return [hint], []


def is_list(kind: Any) -> bool:
    """Whether a type is a list of something, as `Sequence[float]`."""
    return typing.get_origin(kind) is collections.abc.Sequence


def checked(name: str, hint: Any, value: Any) -> Any:
    """A value from Python as its annotation wants it: lists become tuples, numpy's numbers Python's.

    Args:
        name: of the argument.
        hint: its annotation.
        value: as given; text is not parsed.

    Raises:
        InputError: if the value is of another type.
    """
    return matched(name, hint, value, _as_kind)


def matched(name: str, hint: Any, value: Any, as_kind: Callable[[Any, Any], Any]) -> Any:
    """A value as the first type of an annotation that it fits.

    Args:
        name: of the argument.
        hint: its annotation.
        value: as given.
        as_kind: from a type and the value to the value as that type; raises TypeError, ValueError or OverflowError if
            it does not fit.

    Raises:
        InputError: if the value fits none.
    """
    kinds, words = alternatives(hint)
    if isinstance(value, str) and value in words:
        return value
    for kind in kinds:
        try:
            return as_kind(kind, value)
        except (TypeError, ValueError, OverflowError):
            continue
    if name == "image_size" and isinstance(value, (list, tuple)):
        raise InputError(f"`{name}={shown(value)}`: images are square: one side, as image_size=64")
    if kinds == [Sequence[str]] and value is None:
        raise InputError(f"`{name}={value}`: must be a list of names, as {name}=['flip']")
    wanted = [*words, *(_NAMES[kind] for kind in kinds if kind is not type(None))]
    meant = did_you_mean(value, words) if isinstance(value, str) else ""
    raise InputError(f"`{name}={shown(value)}`: must be {' or '.join(wanted)}{meant}")


def _as_kind(kind: Any, value: Any) -> Any:
    """The value as a type. Raises TypeError if it is of another one."""
    if kind is int and not isinstance(value, (bool, np.bool_)):
        return operator.index(value)
    if kind is float and isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    if is_list(kind) and isinstance(value, (list, tuple, np.ndarray, torch.Tensor)):
        items = value if isinstance(value, (list, tuple)) else value.tolist()
        if isinstance(items, (list, tuple)):
            return tuple(_as_kind(typing.get_args(kind)[0], item) for item in items)
    if kind is bool and isinstance(value, np.bool_):
        return bool(value)
    if kind == Sequence[str] and isinstance(value, str):  # as on the command line
        return tuple(filter(None, value.split(",")))
    if kind in (bool, str, torch.dtype, torch.device, type(None)) and isinstance(value, kind):
        return value
    raise TypeError
