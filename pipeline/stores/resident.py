"""`resident`: decoded pixels in the memory of a GPU."""

from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.dataset import Dataset, Pack
from feedline.pipeline.errors import InputError
from feedline.pipeline.stores.host import damaged
from feedline.pipeline.streams import to_device


class ResidentStore:
    """All pixels of the dataset in one tensor, uint8 [N, height, width, 3], in the memory of a GPU.

    Args:
        dataset: with a raw pack of one size.
        device: the GPU.

    Raises:
        InputError: if images vary in size or do not fit.
    """

    encoded = False

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        pack = dataset.pack("raw")
        if pack.size is None:
            raise InputError("`store=resident`: needs images of one size, here they vary; use `store=raw`")
        self.size: tuple[int, int] | None = pack.size
        self.sizes = pack.sizes
        self._pixels = _resident_pixels(dataset, pack, pack.size, device)

    def expect(self, ids: NDArray[np.int64]) -> None:
        """No-op: all images were compared when they were copied to the device."""

    def read(self, ids: NDArray[np.int64]) -> torch.Tensor:
        """Images: uint8 [B, height, width, 3] on the device, by work in the current stream."""
        return self._pixels.index_select(0, to_device(ids, self._pixels.device))


# Train and val loaders of one dataset share the pixels; they are freed with the dataset.
_RESIDENT: "WeakKeyDictionary[Dataset, dict[torch.device, torch.Tensor]]" = WeakKeyDictionary()


def _resident_pixels(dataset: Dataset, pack: Pack, size: tuple[int, int], device: torch.device) -> torch.Tensor:
    tensors = _RESIDENT.setdefault(dataset, {})
    if device not in tensors:
        try:
            pixels = torch.empty((dataset.count, *size, 3), dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            gib = pack.files.nbytes / 2**30
            raise InputError(
                f"`store=resident`: {gib:.1f} GiB of pixels do not fit on {device}; use `store=raw`"
            ) from error
        for start in range(0, dataset.count, 1024):
            ids = np.arange(start, min(start + 1024, dataset.count), dtype=np.int64)
            part = torch.empty((len(ids), *size, 3), dtype=torch.uint8, device="cpu")
            if (image := pack.changed(ids)) is not None:
                raise damaged(dataset, image, f"its bytes in {pack.folder} are not those that were written")
            pack.gather(ids, part.numpy())
            pixels[start : start + len(ids)].copy_(part)
        tensors[device] = pixels
    return tensors[device]
