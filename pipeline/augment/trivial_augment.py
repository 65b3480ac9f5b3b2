"""`trivial-augment`: one random operation of random strength for each image."""

from dataclasses import dataclass
from typing import ClassVar

from feedline.pipeline.augment.operations import BINS, PARTS, Strengths, choose, edit
from feedline.pipeline.augment.types import Size
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit, EditPart
from feedline.pipeline.plan.philox import STREAM_POLICY, below


@dataclass(frozen=True)
class TrivialAugment:
    """TrivialAugment with its wide strengths (Müller and Hutter, ICCV 2021).

    Eleven of its fourteen operations: see `operations`. Translations are up to a seventh of the side, the paper's 32
    pixels of 224.
    """

    name: ClassVar[str] = "trivial-augment"
    parts: ClassVar[tuple[tuple[EditPart, ...], ...]] = (PARTS,)
    MOST: ClassVar[Strengths] = Strengths(shear=0.99, translate=1 / 7, rotate=135, color=0.99, posterize=6)

    def edits(self, draw: Draw, output: Size) -> list[Edit]:
        """One, with an operation for each image."""
        which, strength, sign, _ = draw.words(STREAM_POLICY)
        share = below(strength, BINS + 1) / BINS
        return [edit(choose(which), share, 1 - 2 * below(sign, 2), self.MOST, output)]
