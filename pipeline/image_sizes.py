"""The side of the input, by epoch: `32`, or `24@0,32@4` for progressive resizing."""

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from feedline.pipeline.errors import InputError

SMALLEST, LARGEST = 8, 8192


@dataclass(frozen=True)
class ImageSizes:
    """The side of the square input in pixels, by epoch.

    Attributes:
        starts: (epoch, side): each side holds from its epoch on, counted from 0; the first epoch is 0, epochs increase
            and neighbours differ.
    """

    starts: tuple[tuple[int, int], ...]

    @classmethod
    def parse(cls, value: int | str) -> "ImageSizes":
        """Reads a side, or sides by epoch as `24@0,32@4`.

        Raises:
            InputError: if it is neither, epochs do not increase from 0, or a side is below 8.
        """
        parts = [re.fullmatch(r"(\d+)(?:@(\d+))?", part.strip()) for part in str(value).split(",")]
        found = [(int(part[2] or 0), int(part[1])) for part in parts if part]
        if len(found) < len(parts) or (len(found) > 1 and not all(part and part[2] for part in parts)):
            raise _error(value, "a whole number of pixels, or sides by epoch as 24@0,32@4, with epochs counted from 0")
        epochs, sides = zip(*found, strict=True)
        if epochs[0] != 0:
            raise _error(value, f"a side for the first epoch too, as {sides[0]}@0")
        if any(later <= earlier for earlier, later in pairwise(epochs)):
            raise _error(value, "in the order of the epochs, one side for each")
        if min(sides) < SMALLEST or max(sides) > LARGEST:
            raise _error(value, f"at least {SMALLEST} and at most {LARGEST}")
        return cls(tuple(s for k, s in enumerate(found) if k == 0 or s[1] != found[k - 1][1]))

    def at(self, epoch: int) -> int:
        """The side in an epoch."""
        return self.starts[bisect_right(self.starts, epoch, key=lambda start: start[0]) - 1][1]

    @property
    def last(self) -> int:
        """The side at the end of the run."""
        return self.starts[-1][1]

    @property
    def value(self) -> int | str:
        """What configurations hold: the side, or the text of a schedule."""
        return self.last if len(self.starts) == 1 else ",".join(f"{side}@{epoch}" for epoch, side in self.starts)

    def __str__(self) -> str:
        """As the console shows it, which counts epochs from 1: `24x24, 32x32 from epoch 5`."""
        (_, first), *others = self.starts
        return ", ".join([f"{first}x{first}", *(f"{side}x{side} from epoch {epoch + 1}" for epoch, side in others)])


def _error(value: int | str, wanted: str) -> InputError:
    return InputError(f"`image_size={value}`: must be {wanted}")
