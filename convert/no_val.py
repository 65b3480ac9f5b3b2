"""Why the drawn split has no val image, and what to do."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from feedline.pipeline.errors import InputError

_OTHER_GROUPS = "give a column or a pattern that tells patients, videos or scenes apart"


@dataclass(frozen=True)
class Named:
    """What a line can call images.

    Attributes:
        names: of each image, in the source.
        classes: folders, in label order.
        groups: of each image, empty if it is in none; None if images were not grouped.
    """

    names: Sequence[str]
    classes: Sequence[str]
    groups: Sequence[str] | None = None

    def unit(self, images: Sequence[int]) -> str:
        """What images that stay together are called."""
        groups = sorted({self.groups[i] for i in images} - {""}) if self.groups else []
        more = f" and {len(groups) - 1:,} more, joined by identical images" if len(groups) > 1 else ""
        return f"group {groups[0]!r}{more}" if groups else f"{self.names[images[0]]} and its copies"


@dataclass(frozen=True)
class NoVal:
    """Why: the argument at fault, in backticks, and a text."""

    argument: str
    text: str

    def error(self) -> InputError:
        """As an error."""
        return InputError(f"{self.argument}: {self.text}")


def small_classes(labels: Sequence[int], val_fraction: float) -> NoVal | None:
    """Why classes are too small for the share; None if they are not.

    Args:
        labels: of each image, not empty.
        val_fraction: the share.
    """
    largest = int(np.bincount(labels).max())
    if val_fraction == 0:
        why = "the source has no val images of its own, so nothing would be left to evaluate on; give a share above 0"
    elif largest < 2:
        why = "each class has one image, which train needs; add images, or a val folder"
    elif not round(largest * val_fraction):
        why = f"no class has an image for val; the largest has {largest} images, so give at least {0.6 / largest:.2g}"
    else:
        return None
    return NoVal(f"`val_fraction={val_fraction:g}`", why)


def whole_classes(
    labels: Sequence[int], units: Sequence[Sequence[int]], val_fraction: float, named: Named
) -> NoVal | None:
    """Why units are no choice: all images of each class are in one. None if a class has several.

    Args:
        labels: of each image.
        units: image ids of each; its images stay on one side.
        val_fraction: the share.
        named: of each image.
    """
    units_of = defaultdict(set)
    for number, unit in enumerate(units):
        for image in unit:
            units_of[labels[image]].add(number)
    if any(len(numbers) > 1 for numbers in units_of.values()):
        return None
    label = int(np.bincount(labels).argmax())
    (number,) = units_of[label]
    count = sum(labels[image] == label for image in units[number])
    largest, name = f"the {count:,} of {named.classes[label]!r}", named.unit(units[number])
    if named.groups is None:
        return NoVal(
            f"`val_fraction={val_fraction:g}`",
            f"all images of each class are identical, as {largest} to {named.names[units[number][0]]}; an image and "
            "its copies stay on one side of a split, so add other images, or a val folder",
        )
    if len(units) == 1:
        return NoVal("`group`", f"all {len(labels):,} images are in {name}; {_OTHER_GROUPS}")
    return NoVal("`group`", f"all images of each class are in one group, as {largest} in {name}; {_OTHER_GROUPS}")


def large_units(labels: Sequence[int], units: Sequence[Sequence[int]], val_fraction: float, named: Named) -> NoVal:
    """Why units are too large for the share."""
    largest = max(units, key=len)
    kind = "identical images" if named.groups is None else "its groups"
    why = f"{kind} leave val nothing: {named.unit(largest)} are {len(largest):,} of {len(labels):,} images"
    return NoVal(f"`val_fraction={val_fraction:g}`", f"{why} and stay on one side; give a larger share, or add images")
