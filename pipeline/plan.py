"""The plan: which image, which window of it, flipped or not, for every slot of an epoch.

Every random choice of the data side is made here, as plain arrays, by a counter-based generator. What an image
undergoes is a function of (seed, epoch, image id) alone; the order of an epoch is a function of (seed, epoch). Batch
size, ranks, engines, stores and interruptions do not come into it, so they cannot change it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError
from feedline.pipeline.permutation import BlockPermutation, Permutation
from feedline.pipeline.philox import STREAM_ATTEMPT, STREAM_WINDOW, below, philox, unit

Crop = Literal["pad", "random-resized", "center"]


@dataclass(frozen=True)
class Augment:
    """How windows are chosen.

    Attributes:
        output: (height, width) of the batch, in pixels.
        crop: `pad` (a window of the image's own size, shifted by up to `padding` pixels), `random-resized` (Inception's
            crop, as torchvision's RandomResizedCrop), or `center` (no randomness).
        padding: pixels, for `pad`.
        flip: mirror half of the images.
        scale: share of the image's area that a `random-resized` window covers.
        ratio: its width / height.
        crop_fraction: side of the `center` window / the largest window of the output's shape.
    """

    output: tuple[int, int]
    crop: Crop = "center"
    padding: int = 4
    flip: bool = False
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    crop_fraction: float = 1.0

    ATTEMPTS = 10  # as torchvision's RandomResizedCrop; then the centre


@dataclass(frozen=True, slots=True)
class PlanBatch:
    """What a batch is made of.

    Attributes:
        ids: int64 [B], image ids.
        window: int32 [B, 4], (y, x, height, width) in pixels; it may reach outside the image.
        flip: bool [B].
    """

    ids: NDArray[np.int64]
    window: NDArray[np.int32]
    flip: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)


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
        batch_size: images in a batch, all ranks together.
        augment: how windows are chosen.
        shuffle: a fresh order each epoch, the incomplete last batch dropped. Otherwise list order, every image once.
        blocks: shuffle blocks of neighbours, and images within groups of blocks, instead of all images.
        seed: 64 bits.
        rank, world_size: this process's share of each batch.

    Raises:
        InputError: if there are no images, or too few for one batch.
    """

    CHUNK = 4096  # images planned at once

    def __init__(
        self,
        ids: NDArray[np.int64],
        sizes: Callable[[NDArray[np.int64]], NDArray[np.int64]],
        *,
        batch_size: int,
        augment: Augment,
        shuffle: bool,
        blocks: Blocks | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise InputError(f"rank {rank}: there are {world_size}")
        if batch_size < 1 or (shuffle and batch_size % world_size):
            raise InputError(f"--batch-size {batch_size}: must be a positive multiple of the {world_size} rank(s)")
        if not len(ids):
            raise InputError("this part of the split holds no image")
        if shuffle and len(ids) < batch_size:
            raise InputError(f"--batch-size {batch_size}: only {len(ids)} images to train on; make it smaller")
        self.ids, self.sizes, self.augment = ids, sizes, augment
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        self.blocks = blocks if shuffle else None
        self._order: tuple[int, Permutation | BlockPermutation] | None = None
        self._chunk_batches = max(self.CHUNK * world_size // batch_size, 1)
        self._chunk: tuple[int, int, list[PlanBatch]] | None = None

    @property
    def batches(self) -> int:
        """Batches in an epoch, over all ranks; the same every epoch."""
        full, rest = divmod(len(self.ids), self.batch_size)
        return full + (rest > 0 and not self.shuffle)

    def __len__(self) -> int:
        """Batches in an epoch of which this rank has a share: all, but for a last one that is too short."""
        return self.batches - (self.batches > 0 and not len(self._share(self.batches - 1)))

    def batch(self, epoch: int, k: int) -> PlanBatch:
        """Batch `k` of an epoch: this rank's share of it.

        Raises:
            IndexError: if the epoch has no batch k.
        """
        if not 0 <= k < len(self):
            raise IndexError(f"batch {k}: an epoch has {len(self)}")
        number, place = divmod(k, self._chunk_batches)
        if self._chunk is None or self._chunk[:2] != (epoch, number):
            self._chunk = (epoch, number, self._compute(epoch, number))
        return self._chunk[2][place]

    def window_size(self, size: tuple[int, int] | None) -> tuple[int, int] | None:
        """(height, width) in pixels of all windows of images of one size; None if windows vary, or images (None)."""
        if size is None or self.augment.crop == "random-resized":
            return None
        if self.augment.crop == "pad":
            return size
        height, width = _center(np.array([size], dtype=np.int64), self.augment)[0, 2:].tolist()
        return height, width

    def global_ids(self, epoch: int, k: int) -> NDArray[np.int64]:
        """The images of batch `k`, those of all ranks in their order."""
        slots = np.arange(k * self.batch_size, min((k + 1) * self.batch_size, len(self.ids)), dtype=np.int64)
        return np.asarray(self.ids[self._order_of(epoch)(slots) if self.shuffle else slots])

    def _compute(self, epoch: int, number: int) -> list[PlanBatch]:
        """Some batches at once: numpy's cost a call is a hundred times that of an image."""
        first = number * self._chunk_batches
        shares = [self._share(k) for k in range(first, min(first + self._chunk_batches, len(self)))]
        bounds = np.cumsum([0, *map(len, shares)]).tolist()
        slots = np.concatenate(shares)
        if self.shuffle:
            slots = self._order_of(epoch)(slots)
        ids = np.asarray(self.ids[slots])
        window, flip = self._choose(ids, epoch)
        return [PlanBatch(ids[a:b], window[a:b], flip[a:b]) for a, b in pairwise(bounds)]

    def _order_of(self, epoch: int) -> Permutation | BlockPermutation:
        if self._order is None or self._order[0] != epoch:
            n, blocks = len(self.ids), self.blocks
            if blocks is None:
                self._order = (epoch, Permutation(n, seed=self.seed, epoch=epoch))
            else:
                order = BlockPermutation(n, block=blocks.images, group=blocks.group, seed=self.seed, epoch=epoch)
                self._order = (epoch, order)
        return self._order[1]

    def soon(self, epoch: int, k: int, first: int = 0) -> list[NDArray[np.int64]]:
        """What storage may begin to read when batch `k` is asked for, in an epoch that began at batch `first`.

        Returns:
            Ids of blocks whose group comes next and was not named before, int64 [images] each; none without blocks.
        """
        order = self._order_of(epoch) if self.shuffle else None
        if not isinstance(order, BlockPermutation):
            return []
        group = order.group_of(k * self.batch_size)
        known = group if k == first else order.group_of((k - 1) * self.batch_size) + 2
        return [
            np.asarray(self.ids[block * order.block : (block + 1) * order.block])
            for number in range(known, group + 2)
            for block in order.blocks_of(number).tolist()
        ]

    def _share(self, k: int) -> NDArray[np.int64]:
        """The slots of batch k that are this rank's."""
        start, stop = k * self.batch_size, min((k + 1) * self.batch_size, len(self.ids))
        bounds = [start + (stop - start) * r // self.world_size for r in (self.rank, self.rank + 1)]
        return np.arange(*bounds, dtype=np.int64)

    def _choose(self, ids: NDArray[np.int64], epoch: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        augment, sizes = self.augment, self.sizes(ids)
        if augment.crop == "center" and not augment.flip:
            return _center(sizes, augment), np.zeros(len(ids), dtype=bool)
        words = philox(ids, seed=self.seed, epoch=epoch, stream=STREAM_WINDOW)
        flip = (words[0] & np.uint64(1)).astype(bool) if augment.flip else np.zeros(len(ids), dtype=bool)
        if augment.crop == "pad":
            return _padded(sizes, augment, words[1], words[2]), flip
        if augment.crop == "random-resized":
            return self._random_resized(ids, sizes, epoch), flip
        return _center(sizes, augment), flip

    def _random_resized(self, ids: NDArray[np.int64], sizes: NDArray[np.int64], epoch: int) -> NDArray[np.int32]:
        """As torchvision's RandomResizedCrop draws them: the first of ten attempts that fits, else the centre."""
        augment = self.augment
        window = _fallback(sizes, augment)
        todo = np.arange(len(ids))
        log_ratio = np.log(augment.ratio)
        for attempt in range(Augment.ATTEMPTS):
            words = philox(ids[todo], seed=self.seed, epoch=epoch, stream=STREAM_ATTEMPT + attempt)
            height, width = sizes[todo, 0], sizes[todo, 1]
            area = height * width * (augment.scale[0] + unit(words[0]) * (augment.scale[1] - augment.scale[0]))
            ratio = np.exp(log_ratio[0] + unit(words[1]) * (log_ratio[1] - log_ratio[0]))
            w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
            h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
            fits = (w > 0) & (h > 0) & (w <= width) & (h <= height)
            w, h = np.where(fits, w, 1), np.where(fits, h, 1)
            y, x = below(words[2], height - h + 1), below(words[3], width - w + 1)
            window[todo[fits]] = np.stack([y, x, h, w], axis=1)[fits]
            todo = todo[~fits]
            if not len(todo):
                break
        return window


def _padded(
    sizes: NDArray[np.int64], augment: Augment, y: NDArray[np.uint64], x: NDArray[np.uint64]
) -> NDArray[np.int32]:
    """Windows of the image's size, shifted by -padding..padding: a crop of the zero-padded image."""
    shift = np.stack([below(y, 2 * augment.padding + 1), below(x, 2 * augment.padding + 1)], axis=1)
    return np.concatenate([shift - augment.padding, sizes], axis=1).astype(np.int32)


def _center(sizes: NDArray[np.int64], augment: Augment) -> NDArray[np.int32]:
    """The middle of the image, in the output's shape, as large as fits times `crop_fraction`."""
    if len(sizes) > 1 and sizes.strides[0] == 0:  # one size for all, as stores say it
        return np.broadcast_to(_center(sizes[:1], augment), (len(sizes), 4))
    shape = np.array(augment.output, dtype=np.float64)
    factor = (sizes / shape).min(axis=1, keepdims=True) * augment.crop_fraction
    side = np.clip(np.rint(shape * factor).astype(np.int64), 1, sizes)
    return np.concatenate([(sizes - side) // 2, side], axis=1).astype(np.int32)


def _fallback(sizes: NDArray[np.int64], augment: Augment) -> NDArray[np.int32]:
    """The middle of the image, its shape moved into the allowed ratios."""
    height, width = sizes[:, 0], sizes[:, 1]
    w = np.minimum(width, np.rint(height * augment.ratio[1]).astype(np.int64))
    h = np.minimum(height, np.rint(width / augment.ratio[0]).astype(np.int64))
    side = np.clip(np.stack([h, w], axis=1), 1, sizes)
    return np.concatenate([(sizes - side) // 2, side], axis=1).astype(np.int32)
