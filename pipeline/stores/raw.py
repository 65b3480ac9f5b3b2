"""`raw`: decoded pixels from a pack."""

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.cropper import Cropper
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.resizer import Resizer
from feedline.pipeline.stores.host import HostStore


class RawStore(HostStore):
    """Decoded pixels from a pack: views into the memory map."""

    encoded = False

    def __init__(self, dataset: Dataset) -> None:
        self._raw = dataset.pack("raw")
        super().__init__(dataset, self._raw)
        self._array = self._raw.as_array()
        self._copy = None if self._raw.size is None else Cropper(self._raw.size).whole

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        self.check(ids)
        return self._raw.pixels(ids)

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return self.read(ids)

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        self.check(ids)
        if self._array is None or self._copy is None:
            self._raw.gather(ids, out)
            return
        self._raw.files.check_lengths()
        self._copy(self._array, ids, out)

    def cut(self, batch: PlanBatch, cropper: Cropper, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        if self._array is None:
            super().cut(batch, cropper, out)
            return
        self.check(batch.ids)
        self._raw.files.check_lengths()
        cropper(self._array, batch.row_ids, batch.window, batch.flip, out)

    def resize(self, batch: PlanBatch, resizer: Resizer, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        self.check(batch.ids)
        addresses, lengths = self._raw.addresses(batch.ids)
        sizes = np.ascontiguousarray(self._raw.sizes(batch.ids), dtype=np.int32)
        if (sizes.astype(np.int64).prod(axis=1) * 3 != lengths).any():
            self._raw.pixels(batch.ids)  # says what is wrong
        if batch.views > 1:
            addresses, sizes = np.tile(addresses, batch.views), np.tile(sizes, (batch.views, 1))
        resizer(addresses, sizes, batch.window, batch.flip, out)
