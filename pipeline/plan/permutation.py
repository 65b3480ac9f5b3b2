"""Orders that are computed, not stored."""

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.plan.philox import SHIFT, STREAM_BLOCK, STREAM_ORDER, philox


class Permutation:
    """A random order of 0..n-1 that is computed, not stored: `Permutation(n, ...)(slots)`.

    A Feistel network over the pairs (left < a, right < b) with a * b just above n, walked on while it leaves 0..n-1
    (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). Because a * b < n + 2 sqrt(n) + 1, hardly
    any slot has to be walked. Memory and time are O(len(slots)) whatever n is.

    Args:
        n: size of the domain, at least 1 and below 2^62.
        seed: 64 bits.
        epoch: 32 bits; another epoch, another order.
        stream, salt: for other orders than that of the epoch.
    """

    ROUNDS = 12

    def __init__(self, n: int, *, seed: int, epoch: int, stream: int = STREAM_ORDER, salt: int = 0) -> None:
        self.n = n
        # A tiny network reaches too few orders: below 25, walk on a domain of 25.
        self._a = max(int(np.sqrt(n)), 5)
        self._b = max(-(-n // self._a), 5)
        # Each round's function takes 64 bits of key of its own.
        rounds = np.arange(self.ROUNDS, dtype=np.int64) + salt * self.ROUNDS
        words = philox(rounds, seed=seed, epoch=epoch, stream=stream)
        self._keys = np.stack(words[:2], axis=1).astype(np.uint32)  # [ROUNDS, 2]

    def __call__(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [k] slots in 0..n-1 to int64 [k] of what stands there."""
        if compiled.kernels is not None:
            out = np.empty(len(slots), dtype=np.int64)
            compiled.kernels.permute(np.ascontiguousarray(slots), out, self.n, self._a, self._b, self._keys)
            return out
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
        half: NDArray[np.uint64], other: NDArray[np.uint64], modulus: int, keys: NDArray[np.uint32]
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
        added >>= SHIFT
        added += half
        # Below the modulus, added - modulus wraps around to a huge number: the smaller of the two is the remainder.
        return np.minimum(added, added - np.uint64(modulus), out=added)


class BlockPermutation:
    """A random order that reads storage in long runs: blocks of neighbours, shuffled; then images within some blocks.

    The blocks of an epoch come in random order. A group is the next `group` of them, and the images of a group come in
    random order before the next group begins. So at any time only a group's blocks are read from, each whole.

    Args:
        n: images.
        block: images in a block, neighbours; the last block may be shorter.
        group: blocks in a group.
        seed: 64 bits.
        epoch: 32 bits; another epoch, another order.
    """

    def __init__(self, n: int, *, block: int, group: int, seed: int, epoch: int) -> None:
        self.n, self.block, self._group = n, block, group
        self._seed, self._epoch = seed, epoch
        self.blocks = -(-n // block)
        self._order = Permutation(self.blocks, seed=seed, epoch=epoch, stream=STREAM_BLOCK)
        # Where the last block stands, and by how much it is shorter: the groups behind it begin that much earlier.
        self._missing = self.blocks * block - n
        self._short = self._find(self.blocks - 1)

    def _find(self, block: int) -> int:
        for first in range(0, self.blocks, 1 << 16):
            places = np.arange(first, min(first + (1 << 16), self.blocks), dtype=np.int64)
            found = np.flatnonzero(self._order(places) == block)
            if len(found):
                return first + int(found[0])
        raise AssertionError("a permutation holds every block")

    def start(self, number: int) -> int:
        """The slot at which a group begins; `n` behind the last one."""
        place = min(number * self._group, self.blocks)
        return place * self.block - (self._missing if self._short < place else 0)

    def group_of(self, slot: int) -> int:
        """The number of the group that a slot belongs to."""
        images = self._group * self.block
        behind = (slot + self._missing) // images
        return behind if slot >= self.start(behind) else behind - 1

    def blocks_of(self, number: int) -> NDArray[np.int64]:
        """The blocks of a group, int64; block b holds slots' images b * block to (b + 1) * block - 1."""
        last = min((number + 1) * self._group, self.blocks)
        return self._order(np.arange(number * self._group, last, dtype=np.int64))

    def __call__(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64 [k] slots in 0..n-1, ascending, to int64 [k] of what stands there."""
        out = np.empty_like(slots)
        done = 0
        while done < len(slots):
            number = self.group_of(int(slots[done]))
            start, stop = self.start(number), self.start(number + 1)
            here = slice(done, int(np.searchsorted(slots, stop)))
            inner = Permutation(stop - start, seed=self._seed, epoch=self._epoch, stream=STREAM_BLOCK + 1, salt=number)
            place = inner(slots[here] - start)
            # Skip what is missing of the short block, if it is one of this group's.
            short_end = (self._short - number * self._group + 1) * self.block - self._missing
            if short_end > 0:
                place = np.where(place >= short_end, place + self._missing, place)
            which, offset = np.divmod(place, self.block)
            out[here] = self._order(which + number * self._group) * self.block + offset
            done = here.stop
        return out
