"""The base class of stores on the host."""

import math
import shlex
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.cropper import Cropper
from feedline.pipeline.dataset import Dataset, Pack
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.resizer import Resizer, in_memory
from feedline.program import command_line


def damaged(dataset: Dataset, image: int, what: str) -> InputError:
    """The error that names a damaged image."""
    path = dataset.root / dataset.path(image)
    verify = f"{command_line('verify')} {shlex.quote(str(dataset.root))}"
    return InputError(f"{path} (image {image}): {what}; see what else is damaged with {verify}, then {REBUILD}")


class HostStore(ABC):
    """Images on the host.

    Attributes:
        encoded: whether it has the bytes of image files instead of pixels.
        size: (height, width) in pixels of all images, None if they vary.
        large: whether it is larger than memory; then readahead names every image, not only runs of neighbours.
    """

    encoded: bool
    large: bool
    size: tuple[int, int] | None

    # Images decoded before their windows are cut, at most: fewer need more calls, more do not fit in a core's cache.
    BLOCK, BLOCK_BYTES = 64, 1 << 20

    def __init__(self, dataset: Dataset, pack: Pack | None = None) -> None:
        self._dataset, self._pack = dataset, pack
        self.size = dataset.image_size if pack is None else pack.size
        self.large = pack is not None and pack.files.large
        self._thread = threading.local()

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Height and width of images in pixels: int64 [B, 2]."""
        if self._pack is not None:
            return self._pack.sizes(ids)
        if self.size is not None:
            return np.broadcast_to(np.array(self.size, dtype=np.int64), (len(ids), 2))
        return self._dataset.sizes[ids].astype(np.int64)

    def expect(self, ids: NDArray[np.int64]) -> None:
        """No other images will be read than these, int64 [n]."""
        if self._pack is not None:
            self._pack.first_reads.expect(ids)

    def check(self, ids: NDArray[np.int64]) -> None:
        """Compares images of the pack with their checksums, each when this process reads it for the first time.

        Raises:
            InputError: if one is damaged; it is named.
        """
        if self._pack is not None and (image := self._pack.changed(ids)) is not None:
            raise damaged(self._dataset, image, f"its bytes in {self._pack.folder} are not those that were written")

    @abstractmethod
    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Images as the store holds them: uint8 [bytes] or [height, width, 3] each.

        Raises:
            InputError: if one cannot be read.
        """

    @abstractmethod
    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Images decoded: uint8 [height, width, 3] each.

        Raises:
            InputError: if one cannot be read or decoded; it is named.
        """

    @abstractmethod
    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Images of one size, decoded, into `out`: uint8 [B, height, width, 3].

        Raises:
            InputError: as `pixels`.
        """

    def cut(self, batch: PlanBatch, cropper: Cropper, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        """Windows of images of one size, through a cropper, into `out`: [V * B, window height, window width, 3].

        Raises:
            InputError: as `pixels`.
        """
        for first, stop in self._blocks(batch.ids):
            images, numbers = self._decode_block(batch.ids[first:stop]), np.arange(stop - first)
            for start in range(0, batch.rows, len(batch)):  # each view
                rows = slice(start + first, start + stop)
                cropper(images, numbers, batch.window[rows], batch.flip[rows], out[rows])

    def resize(self, batch: PlanBatch, resizer: Resizer, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        """Windows inside their images, through a resizer, into `out`: [V * B, height, width, 3].

        Raises:
            InputError: as `pixels`.
        """
        for first, stop in self._blocks(batch.ids):
            ids = batch.ids[first:stop]
            images = self._decode_varied(ids) if self.size is None else self._decode_block(ids)
            addresses, sizes = in_memory(images)
            for start in range(0, batch.rows, len(batch)):  # each view
                rows = slice(start + first, start + stop)
                resizer(addresses, sizes, batch.window[rows], batch.flip[rows], out[rows])

    def will_need(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> None:
        """Runs of neighbours, images firsts[i] to lasts[i], will be read soon."""
        if self._pack is not None:
            self._pack.will_need(firsts, lasts)

    def _blocks(self, ids: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Where blocks of a batch begin and end. Each has at least an image."""
        first = nbytes = 0
        for number, image in enumerate((self.sizes(ids).prod(axis=1) * 3).tolist()):
            if number > first and (nbytes + image > self.BLOCK_BYTES or number - first == self.BLOCK):
                yield first, number
                first, nbytes = number, 0
            nbytes += image
        yield first, len(ids)

    def _decode_block(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of one size: uint8 [B, height, width, 3] in memory of this thread, valid until its next block."""
        assert self.size is not None
        shape = len(ids), *self.size, 3
        block = self._memory(math.prod(shape)).reshape(shape)
        self.gather(ids, block)
        return block

    def _decode_varied(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Images of any size, as `pixels`; they may lie in memory of this thread, valid until its next block."""
        return self.pixels(ids)

    def _memory(self, nbytes: int) -> NDArray[np.uint8]:
        """Memory of this thread: uint8 [nbytes], the same in each call."""
        memory: NDArray[np.uint8] | None = getattr(self._thread, "memory", None)
        if memory is None or len(memory) < nbytes:
            memory = self._thread.memory = np.empty(nbytes, dtype=np.uint8)
        return memory[:nbytes]
