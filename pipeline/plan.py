"""The plan: which image, which window of it, flipped or not, for every slot of an epoch.

Every random choice of the data side is made here, as plain arrays, by a counter-based generator. What an image
undergoes is a function of (seed, epoch, image id) alone; the order of an epoch is a function of (seed, epoch). Batch
size, ranks, engines, stores and interruptions do not come into it, so they cannot change it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import InputError

Crop = Literal["pad", "random-resized", "center"]

# Streams keep the generator's uses apart: a counter is (low id, high id, epoch, stream).
_STREAM_ORDER, _STREAM_WINDOW, _STREAM_ATTEMPT = 0, 1, 2

_U32 = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


def philox(
    ids: NDArray[np.int64], *, seed: int, epoch: int, stream: int
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
    """Philox-4x32-10: four random words for each id.

    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. numpy's own Philox hands out a stream; this
    one answers for any ids at once, which is what makes a choice depend on the image alone.

    Args:
        ids: int64 [n], not negative.
        seed: the key, 64 bits.
        epoch: 32 bits.
        stream: 32 bits.

    Returns:
        Four arrays uint64 [n] with values in 0..2^32-1.
    """
    unsigned = ids.astype(np.uint64)
    c0, c1 = unsigned & _U32, unsigned >> _SHIFT
    c2, c3 = np.full_like(c0, epoch & 0xFFFFFFFF), np.full_like(c0, stream & 0xFFFFFFFF)
    k0, k1 = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    for _ in range(10):
        p0, p1 = c0 * np.uint64(0xD2511F53), c2 * np.uint64(0xCD9E8D57)
        c0, c1, c2, c3 = (
            (p1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            p1 & _U32,
            (p0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            p0 & _U32,
        )
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def _below(words: NDArray[np.uint64], bound: "NDArray[np.int64] | int") -> NDArray[np.int64]:
    """Random words of 32 bits to integers in 0..bound-1 (Lemire's multiply-shift; its bias is below bound / 2^32)."""
    return ((words * np.asarray(bound, dtype=np.uint64)) >> _SHIFT).astype(np.int64)


def _unit(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Random words of 32 bits to floats in [0, 1)."""
    return words.astype(np.float64) * 2.0**-32


class Permutation:
    """A random order of 0..n-1 that is computed, not stored: `Permutation(n, ...)(slots)`.

    A Feistel network over the pairs (left < a, right < b) with a * b just above n, walked on while it leaves 0..n-1
    (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). Because a * b < n + 2 sqrt(n) + 1, hardly
    any slot has to be walked. Memory and time are O(len(slots)) whatever n is.

    Args:
        n: size of the domain, at least 1 and below 2^62.
        seed: 64 bits.
        epoch: 32 bits; another epoch, another order.
    """

    ROUNDS = 12

    def __init__(self, n: int, *, seed: int, epoch: int) -> None:
        self.n = n
        # A tiny network reaches too few orders: below 25, walk on a domain of 25.
        self._a = max(int(np.sqrt(n)), 5)
        self._b = max(-(-n // self._a), 5)
        # Each round's function takes 64 bits of key of its own.
        words = philox(np.arange(self.ROUNDS, dtype=np.int64), seed=seed, epoch=epoch, stream=_STREAM_ORDER)
        self._keys = list(zip(words[0].astype(np.uint32), words[1].astype(np.uint32), strict=True))

    def __call__(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [k] slots in 0..n-1 to int64 [k] of what stands there."""
        out = self._walk(slots)
        outside = np.flatnonzero(out >= self.n)
        while len(outside):
            out[outside] = self._walk(out[outside])
            outside = outside[out[outside] >= self.n]
        return out

    def _walk(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        left, right = np.divmod(values, self._b)
        left, right = left.astype(np.uint64), right.astype(np.uint64)
        for number, keys in enumerate(self._keys):
            if number % 2:
                right = self._shift(right, left, self._b, keys)
            else:
                left = self._shift(left, right, self._a, keys)
        return (left * np.uint64(self._b) + right).astype(np.int64)

    @staticmethod
    def _shift(
        half: NDArray[np.uint64], other: NDArray[np.uint64], modulus: int, keys: tuple[np.uint32, np.uint32]
    ) -> NDArray[np.uint64]:
        """(half + F(other)) mod modulus, where F is MurmurHash3's 32-bit finaliser, keyed on both sides."""
        x = other.astype(np.uint32)
        x ^= keys[0]
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(13)
        x += keys[1]
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
        added = x.astype(np.uint64)
        added *= np.uint64(modulus)
        added >>= _SHIFT
        added += half
        # Below the modulus, added - modulus wraps around to a huge number: the smaller of the two is the remainder.
        return np.minimum(added, added - np.uint64(modulus), out=added)


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


@dataclass(frozen=True)
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


class Plan:
    """The plan of one part of a split.

    Args:
        ids: int64 [n], the image ids of the part.
        sizes: from image ids to int64 [B, 2], their height and width in pixels.
        batch_size: images in a batch, all ranks together.
        augment: how windows are chosen.
        shuffle: a fresh order each epoch, the incomplete last batch dropped. Otherwise list order, every image once.
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
        self._chunk_batches = max(self.CHUNK * world_size // batch_size, 1)
        self._chunk: tuple[int, int, PlanBatch] | None = None
        self._bounds: list[int] = []

    def __len__(self) -> int:
        """Batches in an epoch; the same every epoch."""
        full, rest = divmod(len(self.ids), self.batch_size)
        return full + (rest > 0 and not self.shuffle)

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
        chunk, start, stop = self._chunk[2], *self._bounds[place : place + 2]
        return PlanBatch(chunk.ids[start:stop], chunk.window[start:stop], chunk.flip[start:stop])

    def _compute(self, epoch: int, number: int) -> PlanBatch:
        """Some batches at once: numpy's cost a call is a hundred times that of an image."""
        first = number * self._chunk_batches
        shares = [self._share(k) for k in range(first, min(first + self._chunk_batches, len(self)))]
        self._bounds = np.cumsum([0, *map(len, shares)]).tolist()
        slots = np.concatenate(shares)
        if self.shuffle:
            slots = Permutation(len(self.ids), seed=self.seed, epoch=epoch)(slots)
        ids = np.asarray(self.ids[slots])
        window, flip = self._choose(ids, epoch)
        return PlanBatch(ids, window, flip)

    def _share(self, k: int) -> NDArray[np.int64]:
        """The slots of batch k that are this rank's."""
        start, stop = k * self.batch_size, min((k + 1) * self.batch_size, len(self.ids))
        bounds = [start + (stop - start) * r // self.world_size for r in (self.rank, self.rank + 1)]
        return np.arange(*bounds, dtype=np.int64)

    def _choose(self, ids: NDArray[np.int64], epoch: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        augment, sizes = self.augment, self.sizes(ids)
        if augment.crop == "center" and not augment.flip:
            return _center(sizes, augment), np.zeros(len(ids), dtype=bool)
        words = philox(ids, seed=self.seed, epoch=epoch, stream=_STREAM_WINDOW)
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
            words = philox(ids[todo], seed=self.seed, epoch=epoch, stream=_STREAM_ATTEMPT + attempt)
            height, width = sizes[todo, 0], sizes[todo, 1]
            area = height * width * (augment.scale[0] + _unit(words[0]) * (augment.scale[1] - augment.scale[0]))
            ratio = np.exp(log_ratio[0] + _unit(words[1]) * (log_ratio[1] - log_ratio[0]))
            w = np.rint(np.sqrt(area * ratio)).astype(np.int64)
            h = np.rint(np.sqrt(area / ratio)).astype(np.int64)
            fits = (w > 0) & (h > 0) & (w <= width) & (h <= height)
            w, h = np.where(fits, w, 1), np.where(fits, h, 1)
            y, x = _below(words[2], height - h + 1), _below(words[3], width - w + 1)
            window[todo[fits]] = np.stack([y, x, h, w], axis=1)[fits]
            todo = todo[~fits]
            if not len(todo):
                break
        return window


def _padded(
    sizes: NDArray[np.int64], augment: Augment, y: NDArray[np.uint64], x: NDArray[np.uint64]
) -> NDArray[np.int32]:
    """Windows of the image's size, shifted by -padding..padding: a crop of the zero-padded image."""
    shift = np.stack([_below(y, 2 * augment.padding + 1), _below(x, 2 * augment.padding + 1)], axis=1)
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
