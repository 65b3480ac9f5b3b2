"""`rand-augment:n=2:m=9`: a few random operations of one strength for each image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from feedline.pipeline.augment.operations import BINS, PARTS, Strengths, choose, edit
from feedline.pipeline.augment.types import Size
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, EditPart
from feedline.pipeline.plan.philox import STREAM_POLICY, below


@dataclass(frozen=True)
class RandAugment:
    """RandAugment (Cubuk et al., NeurIPS 2020), with torchvision's strengths.

    Eleven of its fourteen operations: see `operations`.

    Attributes:
        n: operations for each image, one after another.
        m: their strength, 0 to 30.

    Raises:
        InputError: if a number is out of range.
    """

    name: ClassVar[str] = "rand-augment"
    MOST: ClassVar[Strengths] = Strengths(shear=0.3, translate=150 / 331, rotate=30, color=0.9, posterize=4)

    n: int = 2
    m: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.n <= 8:
            raise InputError(f"`augment={self.name}:n={self.n}`: n must be from 1 to 8")
        if not 0 <= self.m <= BINS:
            raise InputError(f"`augment={self.name}:m={self.m}`: m must be from 0 to {BINS}")

    @property
    def parts(self) -> tuple[tuple[EditPart, ...], ...]:
        return (PARTS,) * self.n

    def edits(self, draw: Draw, output: Size) -> list[Edit]:
        """`n` of them, each with an operation for each image."""
        share = np.full(len(draw.ids), self.m / BINS)
        edits = []
        for number in range(self.n):
            which, _, sign, _ = draw.words(STREAM_POLICY + number)
            edits.append(edit(choose(which), share, 1 - 2 * below(sign, 2), self.MOST, output))
        return edits
