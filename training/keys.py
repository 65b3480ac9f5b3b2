"""The keys of a configuration, and the conversion of values from files and the command line."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from feedline.pipeline.augment.old_keys import OLD_KEYS
from feedline.pipeline.kinds import is_list, matched
from feedline.training.config import SECTIONS, key_fields

# What other trainers call a key (ultralytics, timm, fastai, torchvision's references). `e` is not among them: it is
# epochs in some and evaluate in others.
OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "image_size": ("imgsz", "img-size"),
    "batch_size": ("b", "bs"),
    "max_lr": ("lr", "lr0", "learning-rate"),
    "weight_decay": ("wd",),
    "threads": ("j", "workers", "num-workers"),
}


def keys() -> Iterator[tuple[str, Any, "dataclasses.Field[Any]"]]:
    """Yields every key: its section, type and field."""
    for section, config in SECTIONS.items():
        hints = typing.get_type_hints(config)
        for field in key_fields(config):
            yield section, hints[field.name], field


def key_types() -> dict[str, Any]:
    """The type of every key, of those that `augment` replaced too."""
    return {field.name: hint for _, hint, field in keys()} | OLD_KEYS


def convert_known(values: Mapping[str, Any]) -> dict[str, Any]:
    """Converts the values whose name is a key; leaves out all others.

    Raises:
        InputError: if a value is of another type than its key.
    """
    return {name: convert(name, hint, values[name]) for name, hint in key_types().items() if name in values}


def convert(name: str, hint: Any, value: Any) -> Any:
    """Converts a value to a key's type.

    Args:
        name: of the key.
        hint: its type.
        value: from TOML, a checkpoint or the command line; text is parsed.

    Raises:
        InputError: if the value is of another type.
    """
    return matched(name, hint, value, _parse)


def _parse(kind: Any, value: Any) -> Any:
    """The value as a type. Raises TypeError, ValueError or OverflowError if it is none."""
    if kind is bool or kind is type(None):
        if isinstance(value, kind):
            return value
        raise TypeError
    if is_list(kind):
        parts = filter(None, value.split(",")) if isinstance(value, str) else value
        return tuple(_parse(typing.get_args(kind)[0], part) for part in parts)
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    converted = kind(value)
    if converted != value and not isinstance(value, str):  # 2.5 is no int
        raise ValueError
    return converted
