"""Stores hand out the bytes or the pixels of image i.

Four of them, from the least preparation to the most speed: `files` reads one file an image, `jpeg` takes the same bytes
out of a pack, `raw` takes decoded pixels out of a pack, `resident` keeps those pixels in the memory of a GPU.
"""

import logging
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.cropper import Cropper, whole_image_copier
from feedline.pipeline.dataset import Dataset, Pack
from feedline.pipeline.dataset.decode import DecodeError, decode, decode_plain
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.dataset.mapping import machine_memory
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan import PlanBatch

logger = logging.getLogger(__name__)

StoreName = Literal["files", "jpeg", "raw", "resident"]
STORES: tuple[StoreName, ...] = ("files", "jpeg", "raw", "resident")


def stores_on(device: torch.device) -> tuple[StoreName, ...]:
    """The stores that a device can have: `resident` needs a GPU."""
    return STORES if device.type == "cuda" else tuple(name for name in STORES if name != "resident")


class HostStore(ABC):
    """Images on the host.

    Attributes:
        encoded: it holds the bytes of image files rather than pixels.
        size: (height, width) in pixels of all images, None if they vary.
        large: memory cannot hold it, so that reading ahead names every image, not only runs of neighbours.
    """

    encoded: bool
    large: bool
    size: tuple[int, int] | None

    BLOCK = 64  # images decoded before they are cropped: fewer cost more calls, more fall out of a core's cache

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
        """Windows of images of one size, through a cropper, into `out`: [B, window height, window width, 3].

        Raises:
            InputError: as `pixels`.
        """
        for first in range(0, len(batch), self.BLOCK):
            part = slice(first, first + self.BLOCK)
            ids = batch.ids[part]
            cropper(self._decode_block(ids), np.arange(len(ids)), batch.window[part], batch.flip[part], out[part])

    def will_need(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> None:
        """Runs of neighbours, images firsts[i] to lasts[i], will be read soon."""
        if self._pack is not None:
            self._pack.will_need(firsts, lasts)

    def _decode_block(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 [B, height, width, 3] in memory of this thread, valid until its next block."""
        if not hasattr(self._thread, "block"):
            assert self.size is not None
            self._thread.block = np.empty((self.BLOCK, *self.size, 3), dtype=np.uint8)
        block: NDArray[np.uint8] = self._thread.block[: len(ids)]
        self.gather(ids, block)
        return block


class _EncodedStore(HostStore):
    """What stores of image files have in common: they decode when pixels are asked for."""

    encoded = True

    def __init__(self, dataset: Dataset, pack: Pack | None = None) -> None:
        super().__init__(dataset, pack)
        self._plain = dataset.plain

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return [self._decode(i, data) for i, data in zip(ids.tolist(), self.read(ids), strict=True)]

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        images = zip(ids.tolist(), self.read(ids), self._plain[ids].tolist(), out, strict=True)
        for image, data, plain, slot in images:
            try:
                if plain:
                    decode_plain(data, slot)
                else:
                    slot[...] = decode(data).pixels
            except ValueError as error:  # DecodeError is one, and so is another size
                raise self._damaged(image, error) from error

    def _decode(self, image: int, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            return decode(data).pixels
        except DecodeError as error:
            raise self._damaged(image, error) from error

    def _damaged(self, image: int, error: Exception) -> InputError:
        path = self._dataset.root / self._dataset.path(image)
        return InputError(f"{path}: no longer decodes ({error}); {REBUILD}")


class FilesStore(_EncodedStore):
    """One file an image, read when it is asked for."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._root, self._path = os.fspath(dataset.root), dataset.path

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return [_read_file(f"{self._root}/{self._path(i)}") for i in ids.tolist()]


def _read_file(path: str) -> NDArray[np.uint8]:
    # open, read and close by descriptor: half the time of a file object at 2 KiB a file. A fixed first read saves the
    # stat; longer files are read on.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {REBUILD}") from error
    try:
        data = os.read(descriptor, 1 << 16)
        if len(data) == 1 << 16:
            with open(descriptor, "rb", closefd=False) as rest:
                data += rest.read()
    finally:
        os.close(descriptor)
    return np.frombuffer(data, dtype=np.uint8)


class JpegStore(_EncodedStore):
    """The original bytes out of a pack: views into the memory map, no copies."""

    def __init__(self, dataset: Dataset) -> None:
        pack = dataset.pack("jpeg")
        super().__init__(dataset, pack)
        self._encoded = pack.encoded

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return self._encoded(ids)


class RawStore(HostStore):
    """Decoded pixels out of a pack: views into the memory map."""

    encoded = False

    def __init__(self, dataset: Dataset) -> None:
        self._raw = dataset.pack("raw")
        super().__init__(dataset, self._raw)
        self._array = self._raw.as_array()
        self._copy = None if self._raw.size is None else whole_image_copier(self._raw.size)

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return self._raw.pixels(ids)

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return self._raw.pixels(ids)

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        if self._array is None or self._copy is None:
            self._raw.gather(ids, out)
            return
        self._raw.files.check_lengths()
        self._copy(self._array, ids, out)

    def cut(self, batch: PlanBatch, cropper: Cropper, out: NDArray[np.uint8] | NDArray[np.float32]) -> None:
        if self._array is None:
            super().cut(batch, cropper, out)
            return
        self._raw.files.check_lengths()
        cropper(self._array, batch.ids, batch.window, batch.flip, out)


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

    def read(self, ids: NDArray[np.int64]) -> torch.Tensor:
        """Images: uint8 [B, height, width, 3] on the device."""
        index = torch.from_numpy(ids).pin_memory().to(self._pixels.device, non_blocking=True)
        return self._pixels.index_select(0, index)


Store: TypeAlias = HostStore | ResidentStore

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
            part = torch.empty((len(ids), *size, 3), dtype=torch.uint8)
            pack.gather(ids, part.numpy())
            pixels[start : start + len(ids)].copy_(part)
        tensors[device] = pixels
    return tensors[device]


_OPEN: dict[str, Callable[[Dataset], HostStore]] = {"files": FilesStore, "jpeg": JpegStore, "raw": RawStore}


def open_store(name: StoreName, dataset: Dataset, device: torch.device) -> Store:
    """Opens a store of a dataset.

    Raises:
        InputError: if there is no such store, or the dataset was built without its pack.
    """
    if name == "resident":
        return ResidentStore(dataset, device)
    if name not in _OPEN:
        raise InputError(f"`store={name}`: choose one of auto, {', '.join(STORES)}")
    return _OPEN[name](dataset)


def resolve_store(name: StoreName | Literal["auto"], dataset: Dataset, device: torch.device) -> StoreName:
    """The store that a loader opens: `auto` is decided; `resident` without a GPU becomes `raw`, which is logged."""
    if name == "auto":
        return choose_store(dataset, device)[0]
    if name == "resident" and device.type == "cpu":
        logger.warning("store: raw, because resident keeps pixels in a GPU's memory and this loader has no GPU")
        return "raw"
    return name


def choose_store(dataset: Dataset, device: torch.device) -> tuple[StoreName, str]:
    """What `auto` takes, and why.

    `resident` on a GPU with room for it; `raw` where memory can hold the pack (each image is then read from storage
    once); else `jpeg`, which reads a sixth of the bytes; without packs `files`.
    """
    if "raw" in dataset.packs:
        gib, one_size = dataset.packs["raw"]["bytes"] / 2**30, dataset.packs["raw"]["image_size"] is not None
        pack = f"{gib:.1f} GiB" if gib >= 0.1 else f"{1024 * gib:.1f} MiB"
        memory = machine_memory() / 2**30
        if device.type == "cuda" and one_size:
            free = torch.cuda.mem_get_info(device)[0] / 2**30
            if gib <= free / 4:
                return "resident", f"the {pack} of pixels fit in a quarter of the GPU's free {free:.0f} GiB"
        if gib <= memory / 2:
            return "raw", f"the raw pack of {pack} fits in half of this machine's {memory:.0f} GiB of memory"
        if "jpeg" not in dataset.packs:
            return "raw", "it is the only pack"
        return "jpeg", f"the raw pack of {pack} is more than half of this machine's {memory:.0f} GiB of memory"
    return ("jpeg", "there is no raw pack") if "jpeg" in dataset.packs else ("files", "there is no pack")
