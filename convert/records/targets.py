"""Labels as sources have them, and what they say: a whole number, a text, or nothing."""

import math
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from feedline.convert.layouts.label_text import is_whole, label_of, plain
from feedline.convert.records import Record, Target
from feedline.pipeline.errors import InputError

NO_LABEL = "no label"
_KINDS = {float: "fraction", Decimal: "fraction", dict: "struct"}


def as_target(value: Any) -> Target | None:
    """A whole number, also one with a point (1.0), or a text; None for anything else, and for NaN and empty texts."""
    if isinstance(value, (float, Decimal)):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, str):
        return label_of(value.strip()) or None
    return value if isinstance(value, int) else None


def why_no_target(value: Any) -> str:
    """Why `as_target` gives None."""
    if value is None or isinstance(value, str) or (isinstance(value, (float, Decimal)) and not math.isfinite(value)):
        return NO_LABEL
    kind = type(value)
    return f"the label {str(value)[:30]} is a {_KINDS.get(kind, kind.__name__)}, not a whole number or a text"


def of_one_kind(records: Sequence[Record], where: str) -> list[Record]:
    """Records whose targets are all numbers or all texts: texts that are whole numbers are numbers.

    Args:
        records: those with a target.
        where: what errors call the labels.

    Raises:
        InputError: if some targets are numbers, and others texts.
    """
    text = next((record for record in records if isinstance(record.target, str) and not is_whole(record.target)), None)
    number = next((record for record in records if not isinstance(record.target, str)), None)
    if text and number:
        raise InputError(
            f"{where} mixes numbers and texts ({number.target!r} in {number.name}, {text.target!r} in {text.name}); "
            "write all labels in one way, or name another column with `label_column`"
        )
    if text:
        return list(records)
    return [
        replace(record, target=int(plain(str(record.target)))) if isinstance(record.target, str) else record
        for record in records
    ]
