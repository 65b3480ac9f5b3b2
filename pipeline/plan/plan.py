"""The plan: which image, which window of it, flipped or not, for every slot of an epoch.

Every random choice about data is made here and in the augmentations, as plain arrays, by a counter-based generator.
Window and flip of an image are a function of (seed, epoch, image id) only; the order of an epoch is a function of
(seed, epoch). Batch size, ranks, engines, stores and interruptions cannot change them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from feedline.output import counted
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan.batch import PlanBatch, join_views
from feedline.pipeline.plan.draw import Draw
from feedline.pipeline.plan.edits import Edit
from feedline.pipeline.plan.mixing import Mix, MixBatch
from feedline.pipeline.plan.permutation import BlockPermutation, Permutation
from feedline.pipeline.plan.weighted import WeightedOrder

Order: TypeAlias = Permutation | BlockPermutation | WeightedOrder


class Chooser(Protocol):
    """Chooses windows, flips and edits; `feedline.pipeline.augment.Augmentations` is the one that loaders use."""

    def choose(self, draw: Draw) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """Windows, int32 [B, 4], and flips, bool [B], of some images."""

    def edits(self, draw: Draw) -> tuple[Edit, ...]:
        """Edits of some images, in order."""


@dataclass(frozen=True)
class Blocks:
    """Shuffling for storage where random reads are slow: see `BlockPermutation`.

    Attributes:
        images: neighbours in the list that are read together.
        group: blocks that are mixed with each other.
    """

    images: int
    group: int


class Plan:
    """The plan of one part of a split.

    Args:
        ids: int64 [n], the image ids of the part.
        sizes: from image ids to int64 [B, 2], their height and width in pixels.
        batch_size: images in a batch, over all ranks.
        augment: chooses windows, flips and edits.
        shuffle: a fresh order each epoch, the incomplete last batch dropped. Otherwise list order, every image once.
        blocks: shuffle blocks of neighbours, and images within groups of blocks, instead of all images.
        weights: float64 [n], of the images: an epoch holds n of them, drawn with replacement. Their windows and flips
            are then a function of (seed, epoch, slot).
        views: windows of each image.
        seed: 64 bits.
        rank, world_size: this process's share of each batch.

    Raises:
        InputError: if there are no images, or too few for one batch.
    """

    CHUNK = 4096  # images planned at once: a numpy call costs as much as a hundred images

    def __init__(
        self,
        ids: NDArray[np.int64],
        sizes: Callable[[NDArray[np.int64]], NDArray[np.int64]],
        *,
        batch_size: int,
        augment: Chooser,
        shuffle: bool,
        blocks: Blocks | None = None,
        weights: NDArray[np.float64] | None = None,
        views: int = 1,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if shuffle and batch_size % world_size:
            raise InputError(f"`batch_size={batch_size}`: must be a positive multiple of `world_size={world_size}`")
        if batch_size < world_size:
            raise InputError(f"`batch_size={batch_size}`: must be at least 1 for each of the {world_size} ranks")
        if not len(ids):
            raise InputError("this part of the split holds no image")
        if shuffle and len(ids) < batch_size:
            raise InputError(
                f"`batch_size={batch_size}`: only {counted(len(ids), 'image')} to train on; make it smaller"
            )
        self.ids, self.sizes, self.augment = ids, sizes, augment
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.blocks, self.views = blocks if shuffle else None, views
        self._cumulative = np.cumsum(weights) if shuffle and weights is not None else None
        self._order: tuple[int, Order] | None = None
        self._batches_per_chunk = max(self.CHUNK * world_size // batch_size, 1)
        self._chunk: tuple[int, int, list[PlanBatch]] | None = None

    @property
    def batches(self) -> int:
        """Batches in an epoch, over all ranks; the same every epoch."""
        full, rest = divmod(len(self.ids), self.batch_size)
        return full + (rest > 0 and not self.shuffle)

    def __len__(self) -> int:
        """Batches in an epoch with a share for this rank: all except a last one that is too short."""
        return self.batches - (self.batches > 0 and not len(self.slots(self.batches - 1)))

    def use(self, augment: Chooser) -> None:
        """Lets something else choose windows and flips from now on. The order of an epoch stays the same."""
        self.augment, self._chunk = augment, None

    def batch(self, epoch: int, k: int) -> PlanBatch:
        """Batch `k` of an epoch: this rank's share of it.

        Raises:
            IndexError: if the epoch has no batch k.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"batch {k}: an epoch has {len(self)}")
        number, place = divmod(k, self._batches_per_chunk)
        chunk = self._chunk  # another thread may replace it, here and in `order`
        if chunk is None or chunk[:2] != (epoch, number):
            chunk = self._chunk = (epoch, number, self._compute(epoch, number))
        return chunk[2][place]

    def mixing(self, mix: Mix, epoch: int, k: int, size: tuple[int, int]) -> MixBatch:
        """How this rank's images of batch `k` are mixed. The share of each rank must be even.

        Args:
            mix: what to draw.
            epoch, k: the batch.
            size: (height, width) of the images in pixels.
        """
        return mix.batch(self.slots(k)[::2] // 2, size, seed=self.seed, epoch=epoch)

    def global_ids(self, epoch: int, k: int) -> NDArray[np.int64]:
        """The images of batch `k` of all ranks, in order: int64 [B]."""
        slots = np.arange(k * self.batch_size, min((k + 1) * self.batch_size, len(self.ids)), dtype=np.int64)
        return np.asarray(self.ids[self.order(epoch)(slots) if self.shuffle else slots])

    def order(self, epoch: int) -> Order:
        """The order of a shuffled epoch: from slots, int64 [k], to positions in `ids`."""
        order = self._order
        if order is None or order[0] != epoch:
            order = self._order = (epoch, self._new_order(epoch))
        return order[1]

    def _new_order(self, epoch: int) -> Order:
        n, blocks = len(self.ids), self.blocks
        if self._cumulative is not None:
            return WeightedOrder(self._cumulative, seed=self.seed, epoch=epoch)
        if blocks is None:
            return Permutation(n, seed=self.seed, epoch=epoch)
        return BlockPermutation(n, block=blocks.images, group=blocks.group, seed=self.seed, epoch=epoch)

    def _compute(self, epoch: int, number: int) -> list[PlanBatch]:
        """The batches of a chunk."""
        first = number * self._batches_per_chunk
        shares = [self.slots(k) for k in range(first, min(first + self._batches_per_chunk, len(self)))]
        bounds = np.cumsum([0, *map(len, shares)]).tolist()
        slots = np.concatenate(shares)
        ids = np.asarray(self.ids[self.order(epoch)(slots) if self.shuffle else slots])
        drawn, sizes = ids if self._cumulative is None else slots, self.sizes(ids)
        draws = [Draw(drawn, sizes, self.seed, epoch, view) for view in range(self.views)]
        views = [PlanBatch(ids, *self.augment.choose(draw), self.augment.edits(draw)) for draw in draws]
        return [join_views([view[a:b] for view in views]) for a, b in pairwise(bounds)]

    def slots(self, k: int) -> NDArray[np.int64]:
        """The slots of batch `k` that are this rank's: int64 [B]. An epoch's slots count its images, over all ranks."""
        start, stop = k * self.batch_size, min((k + 1) * self.batch_size, len(self.ids))
        bounds = [start + (stop - start) * r // self.world_size for r in (self.rank, self.rank + 1)]
        return np.arange(*bounds, dtype=np.int64)
