"""Targets become labels: class names, and numbers without gaps."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from feedline.convert.indexed.rows import read_target
from feedline.convert.layouts.class_names import class_infos
from feedline.convert.records import Target
from feedline.output import counted, listed
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.errors import InputError


def declared_names(dataset: Any, column: Any) -> list[str] | None:
    """The class names that a dataset declares, in label order.

    torchvision's datasets have them in `classes` (ImageNet as tuples of synonyms), Hugging Face's in the feature of
    the label's column, a `Subset` in the dataset that it is of.

    Args:
        dataset: the dataset.
        column: of the target.

    Returns:
        The names; None if it declares none.
    """
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        names = getattr(features.get(column), "names", None)
    else:
        names = getattr(dataset, "classes", None)
    if names is None and hasattr(dataset, "indices") and hasattr(dataset, "dataset"):
        return declared_names(dataset.dataset, column)
    if not isinstance(names, (list, tuple, np.ndarray)) or len(names) == 0:
        return None
    joined = [", ".join(map(str, name)) if isinstance(name, (list, tuple)) else name for name in names]
    return [str(name) for name in joined] if all(isinstance(name, (str, int)) for name in joined) else None


class Labels:
    """Numbers the targets of a dataset.

    With names, a target is the position of its name, or the name. Without names, ints are labels as they are, and
    texts are sorted in the end.

    Args:
        declared: {part: class names that the dataset declares, or None}; the first part is train.
        classes: names that the user gave: a list in label order, or {target: name} in label order.

    Raises:
        InputError: if `classes` or the parts' names cannot be used.
    """

    def __init__(self, declared: Mapping[str, list[str] | None], classes: Any = None) -> None:
        self.names: list[str] | None = None
        self._declared = declared
        self._lookup: dict[str, dict[Target, int]] = {}
        self._numbers: dict[Target, int] = {}  # without names: {target: provisional label}
        self._parts: dict[Target, set[str]] = {}  # without names: which parts have a target
        if classes is not None:
            self.names, lookup = _given(classes)
            self._lookup = dict.fromkeys(declared, lookup)
        elif (train := declared["train"]) is not None:
            self.names = train
            self._lookup = {part: _lookup(train, names or train, part) for part, names in declared.items()}

    def number(self, part: str, target: Target, where: str) -> int:
        """The label of a target, provisional if there are no names.

        Raises:
            InputError: if the target is no class.
        """
        if self.names is not None:
            try:
                return self._lookup[part][target]
            except KeyError:
                known = self._named(part, target)
                raise InputError(
                    f"{where}: the target {target!r}{known} is none of the {counted(len(self.names), 'class')} "
                    f"({listed(self.names, 3)}){_unlabelled(target)}; correct it, or give `classes`"
                ) from None
        if isinstance(target, int) and target < 0:
            raise InputError(f"{where}: the target {target} is no class{_unlabelled(target)}; leave such items out")
        if self._numbers and type(target) is not type(next(iter(self._numbers))):
            raise InputError(f"{where}: the target {target!r} is {type(target).__name__}, those before it are not")
        self._parts.setdefault(target, set()).add(part)
        return self._numbers.setdefault(target, len(self._numbers))

    def digest(self) -> str | None:
        """A digest of the names and of what each target means; None if there are no names."""
        if self.names is None:
            return None
        return hashlib.blake2b(repr((self.names, self._lookup)).encode(errors="replace"), digest_size=8).hexdigest()

    def _named(self, part: str, target: Target) -> str:
        """What the part itself calls a target, in brackets; nothing if it does not say."""
        names = self._declared[part]
        known = names is not None and isinstance(target, int) and 0 <= target < len(names)
        return f" ({names[target]!r})" if known else ""  # type: ignore[index]

    def finish(self) -> tuple[list[ClassInfo], dict[int, int]]:
        """The classes, and {provisional label: label}.

        Raises:
            InputError: if targets without names have gaps, or only val has one of them.
        """
        if self.names is not None:
            return class_infos(self.names), {label: label for label in range(len(self.names))}
        if only := sorted((t for t, parts in self._parts.items() if "train" not in parts), key=str):
            raise InputError(f"`dataset`: val has the target {only[0]!r}, which train lacks")
        ordered: list[Any] = sorted(self._numbers)  # all ints, or all texts
        if isinstance(ordered[0], int) and ordered != list(range(len(ordered))):
            raise InputError(
                f"`dataset`: its targets are {len(ordered)} numbers from {ordered[0]} to {ordered[-1]}, not 0 to "
                f"{len(ordered) - 1}; give `classes`: names for 0 to {ordered[-1]}, or a dict of target and name in "
                "the order of the labels"
            )
        return class_infos([str(t) for t in ordered]), {self._numbers[t]: label for label, t in enumerate(ordered)}


def _given(classes: Any) -> tuple[list[str], dict[Target, int]]:
    """Names and lookup by what the user gave as `classes`."""
    if not isinstance(classes, (Mapping, list, tuple)) or len(classes) == 0:
        raise InputError(
            f"`classes={classes!r}`: give a list of class names in label order, or a dict of target and name"
        )
    if isinstance(classes, Mapping):
        lookup = {read_target(target, "`classes`"): label for label, target in enumerate(classes)}
        return [str(name) for name in classes.values()], lookup
    names = [str(name) for name in classes]
    return names, _lookup(names, names, "train")


def _lookup(train: list[str], names: list[str], part: str) -> dict[Target, int]:
    """{target: label} of a part whose class names are `names`, where labels are positions in `train`."""
    times = Counter(train)
    by_name: dict[Target, int] = {name: label for label, name in enumerate(train) if times[name] == 1}
    if names == train:
        return {**by_name, **{label: label for label in range(len(train))}}
    if len(by_name) < len(train) or len(set(names)) < len(names):
        raise InputError(
            f"`dataset`: {part} and train have different class names, and some names twice; give `classes`"
        )
    return {**by_name, **{target: by_name[name] for target, name in enumerate(names) if name in by_name}}


def _unlabelled(target: Target) -> str:
    return " (often the mark of an item without a label)" if target == -1 else ""
