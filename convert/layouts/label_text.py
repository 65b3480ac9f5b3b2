"""What the fields of a column of labels say: a class, or that there is none."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

# What pandas and others write where there is no value; in any case.
_NO_LABEL = {"", "nan", "-nan", "<na>", "#n/a", "n/a", "nat", "null"}
_DOUBTFUL = {"none", "na"}  # no value, or a class: "none" of several diseases, Namibia
_WHOLE = re.compile(r"-?\d{1,18}(\.0*)?", re.ASCII)  # 1.0: what pandas makes of whole numbers


def label_of(field: str) -> str:
    """The label in a field, with composed accents (NFC); empty if there is none."""
    return "" if field.lower() in _NO_LABEL else unicodedata.normalize("NFC", field)


def is_whole(label: str) -> bool:
    """Whether a label is a whole number: `3` or `3.0`."""
    return _WHOLE.fullmatch(label) is not None


def plain(label: str) -> str:
    """A label; whole numbers without a point: `3` for `3.0`."""
    return str(int(label.partition(".")[0])) if is_whole(label) else label


def is_container(label: str) -> bool:
    """Whether a field holds a list or an object, as JSON or Python writes them, and no single label."""
    return (label[:1], label[-1:]) in (("[", "]"), ("{", "}"))


def notes_on_labels(names: Iterable[str]) -> list[str]:
    """Lines on classes that may be none, or one class spelled in two ways."""
    alike: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        alike[name.casefold()].append(name)
    pairs = [spellings for spellings in alike.values() if len(spellings) > 1]
    notes = []
    if doubtful := [name for key in sorted(_DOUBTFUL) for name in alike.get(key, ())]:
        notes.append(f"the label {doubtful[0]!r} is taken for a class; leave the field empty where there is no label")
    if pairs:
        first, second = pairs[0][:2]
        more = f", and {len(pairs) - 1:,} more pairs" if len(pairs) > 1 else ""
        notes.append(f"labels that differ in case only are different classes: {first!r} and {second!r}{more}")
    return notes
