"""Random words for choices about images."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan.philox import VIEW, philox

Words = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]


@dataclass(frozen=True)
class Draw:
    """Random words for some images in an epoch. They depend only on (seed, epoch, image id, view).

    Attributes:
        ids: int64 [B]; slots where images are drawn with replacement, so that those that come twice differ.
        sizes: int64 [B, 2], height and width in pixels.
        seed: 64 bits.
        epoch: 32 bits.
        view: which of several windows of an image; 0 for the first.
    """

    ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    seed: int
    epoch: int
    view: int = 0
    _words: dict[int, Words] = field(default_factory=dict, repr=False)

    def words(self, stream: int) -> Words:
        """Four random 32-bit words for each image, uint64 [B] each. Each stream has different words.

        A stream that is requested several times is computed once.
        """
        if stream not in self._words:
            self._words[stream] = philox(self.ids, seed=self.seed, epoch=self.epoch, stream=stream + VIEW * self.view)
        return self._words[stream]

    def in_epoch(self, epoch: int) -> "Draw":
        """The same images in another epoch."""
        return Draw(self.ids, self.sizes, self.seed, epoch, self.view)

    def subset(self, positions: NDArray[np.int64]) -> "Draw":
        """Some of the images, by their positions, int64 [n]."""
        return Draw(self.ids[positions], self.sizes[positions], self.seed, self.epoch, self.view)
