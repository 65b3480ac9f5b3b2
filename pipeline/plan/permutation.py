"""Random orders that are computed, not stored."""

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.plan.philox import SHIFT, STREAM_BLOCK, STREAM_ORDER, philox


class Permutation:
    """A random order of 0..n-1, computed for the slots that are asked for: `Permutation(n, ...)(slots)`.

    A Feistel network over pairs (left < a, right < b) with a * b just above n. A result of n or more goes through the
    network again until it is below n ("cycle walking": Black and Rogaway, "Ciphers with arbitrary finite domains",
    CT-RSA 2002). Because a * b < n + 2 sqrt(n) + 1, few slots need a second pass. Memory and time are O(len(slots)),
    independent of n.

    Args:
        n: size of the domain, at least 1 and below 2^62.
        seed: 64 bits.
        epoch: 32 bits; each epoch has a different order.
        stream, salt: select orders for other uses.
    """

    ROUNDS = 12

    def __init__(self, n: int, *, seed: int, epoch: int, stream: int = STREAM_ORDER, salt: int = 0) -> None:
        self.n = n
        # A tiny network can produce too few orders: the domain has at least 25 values.
        self._a = max(int(np.sqrt(n)), 5)
        self._b = max(-(-n // self._a), 5)
        # Each round has its own 64-bit key.
        rounds = np.arange(self.ROUNDS, dtype=np.int64) + salt * self.ROUNDS
        words = philox(rounds, seed=seed, epoch=epoch, stream=stream)
        self._keys = np.stack(words[:2], axis=1).astype(np.uint32)  # [ROUNDS, 2]

    def __call__(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the values at these slots, int64 [k]. Slots are int64 [k] in 0..n-1."""
        if compiled.kernels is not None:
            out = np.empty(len(slots), dtype=np.int64)
            compiled.kernels.permute(np.ascontiguousarray(slots), out, self.n, self._a, self._b, self._keys)
            return out
        out = self._pass_through(slots)
        outside = np.flatnonzero(out >= self.n)
        while len(outside):
            out[outside] = self._pass_through(out[outside])
            outside = outside[out[outside] >= self.n]
        return out

    def _pass_through(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """One pass through the network."""
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
        """(half + F(other)) mod modulus, where F is MurmurHash3's 32-bit finaliser with two keys mixed in."""
        x = other.astype(np.uint32)
        x ^= keys[0]
        x ^= x >> np.uint32(16)
        x *= np.uint32(0x85EBCA6B)
        x ^= x >> np.uint32(13)
        x += keys[1]
        x *= np.uint32(0xC2B2AE35)
        x ^= x >> np.uint32(16)
        total = x.astype(np.uint64)
        total *= np.uint64(modulus)
        total >>= SHIFT
        total += half
        # If total < modulus, total - modulus wraps around to a huge number: the smaller of the two is the remainder.
        return np.minimum(total, total - np.uint64(modulus), out=total)


class BlockPermutation:
    """A random order that reads storage in long runs: blocks of neighbours, images mixed within groups of blocks.

    The blocks of an epoch are in random order. Each `group` consecutive blocks form a group, and the images of a group
    are in random order. The next group starts when the last one is finished, so only the blocks of one group are read
    at a time, each completely.

    Args:
        n: number of images.
        block: neighbouring images in a block; the last block may be shorter.
        group: blocks in a group.
        seed: 64 bits.
        epoch: 32 bits; each epoch has a different order.
    """

    def __init__(self, n: int, *, block: int, group: int, seed: int, epoch: int) -> None:
        self.n, self.block, self._group = n, block, group
        self._seed, self._epoch = seed, epoch
        self.blocks = -(-n // block)
        self._order = Permutation(self.blocks, seed=seed, epoch=epoch, stream=STREAM_BLOCK)
        # The position of the last block, and how many images it lacks: later groups start that many slots earlier.
        self._missing = self.blocks * block - n
        self._short = self._position_of(self.blocks - 1)

    def _position_of(self, block: int) -> int:
        for first in range(0, self.blocks, 1 << 16):
            positions = np.arange(first, min(first + (1 << 16), self.blocks), dtype=np.int64)
            matches = np.flatnonzero(self._order(positions) == block)
            if len(matches):
                return first + int(matches[0])
        raise AssertionError("a permutation contains every block")

    def start(self, number: int) -> int:
        """The first slot of a group; `n` after the last group."""
        position = min(number * self._group, self.blocks)
        return position * self.block - (self._missing if self._short < position else 0)

    def group_of(self, slot: int) -> int:
        """The number of the group that a slot belongs to."""
        images = self._group * self.block
        highest = (slot + self._missing) // images
        return highest if slot >= self.start(highest) else highest - 1

    def blocks_of(self, number: int) -> NDArray[np.int64]:
        """The blocks of a group, int64. Block b contains the images b * block to (b + 1) * block - 1."""
        last = min((number + 1) * self._group, self.blocks)
        return self._order(np.arange(number * self._group, last, dtype=np.int64))

    def __call__(self, slots: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the images at these slots, int64 [k]. Slots are int64 [k] in 0..n-1, ascending."""
        out = np.empty_like(slots)
        done = 0
        while done < len(slots):
            number = self.group_of(int(slots[done]))
            start, stop = self.start(number), self.start(number + 1)
            part = slice(done, int(np.searchsorted(slots, stop)))
            inner = Permutation(stop - start, seed=self._seed, epoch=self._epoch, stream=STREAM_BLOCK + 1, salt=number)
            position = inner(slots[part] - start)
            # Skip the images that the short block lacks, if it is in this group.
            short_end = (self._short - number * self._group + 1) * self.block - self._missing
            if short_end > 0:
                position = np.where(position >= short_end, position + self._missing, position)
            which, offset = np.divmod(position, self.block)
            out[part] = self._order(which + number * self._group) * self.block + offset
            done = part.stop
        return out
