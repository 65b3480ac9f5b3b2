"""Groups of items that belong on one side of a split, as `from_dataset` is given them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from feedline.convert.indexed.parts import Part
from feedline.pipeline.dataset import PartName
from feedline.pipeline.errors import InputError


def read_groups(group: Any, parts: Mapping[PartName, Part]) -> dict[str, str]:
    """The group of every item.

    Args:
        group: a value for each item, in the order of the dataset; a dict of such if the dataset is a dict of parts.
        parts: of the dataset.

    Returns:
        {name of the item, see `Reader.where`: its group}, empty text where the value is None, nan or empty.

    Raises:
        InputError: if there is not one value for each item, or no item has a group.
    """
    per_part = group if isinstance(group, Mapping) else {"train": group}
    if set(per_part) != set(parts):
        raise InputError(
            f"`group`: is for {_listed(per_part)}, and the dataset has {_listed(parts)}; give a dict of both"
        )
    groups: dict[str, str] = {}
    for part, opened in parts.items():
        values = _values(per_part[part])
        if len(values) != opened.count:
            raise InputError(
                f"`group`: has {len(values)} values for the {opened.count} items of {part}; give one for each"
            )
        groups.update((opened.reader.where(index), _text(value)) for index, value in enumerate(values))
    if not any(groups.values()):
        raise InputError("`group`: no item has a group; give a value for each item, such as the patient")
    return groups


def digest(groups: Mapping[str, str]) -> str:
    """A digest of the groups: other ones make another dataset."""
    return hashlib.blake2b(repr(list(groups.items())).encode(), digest_size=8).hexdigest()


def _values(values: Any) -> Sequence[Any]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise InputError(f"`group={values}`: give a value for each item, such as dataset['patient']")
    listed = values.tolist() if hasattr(values, "tolist") else list(values)  # arrays, tensors, pandas
    return listed if isinstance(listed, list) else [listed]


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and value != value)
    return "" if missing else str(value).strip()


def _listed(parts: Mapping[Any, Any]) -> str:
    return ", ".join(map(str, parts))
