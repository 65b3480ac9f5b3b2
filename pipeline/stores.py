"""Stores hand out the bytes of image i.

Four of them, from the least preparation to the most speed: `files` reads one file an image, `jpeg` takes the same bytes
out of a pack, `raw` takes decoded pixels out of a pack, `resident` holds those pixels in the memory of the device.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.dataset import Dataset
from pipeline.errors import InputError

StoreName = Literal["files", "jpeg", "raw", "resident"]
STORES: tuple[StoreName, ...] = ("files", "jpeg", "raw", "resident")

# What a store hands out for a batch: an array an image (1-D encoded bytes or HWC pixels) on the host, or one uint8
# tensor [B, height, width, 3] on the device.
Images: TypeAlias = "list[NDArray[np.uint8]] | torch.Tensor"


class Store(Protocol):
    """Attributes: `encoded` (bytes of image files rather than pixels); `sizes` (image ids to int64 [B, 2], pixels)."""

    encoded: bool

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]: ...

    def read(self, ids: NDArray[np.int64]) -> Images: ...


def _uniform(size: tuple[int, int]) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    one = np.array(size, dtype=np.int64)
    return lambda ids: np.broadcast_to(one, (len(ids), 2))


class FilesStore:
    """One file an image, read when it is asked for."""

    encoded = True

    def __init__(self, dataset: Dataset) -> None:
        self._root, self._path = os.fspath(dataset.root), dataset.path
        if dataset.image_size is not None:
            self.sizes = _uniform(dataset.image_size)
        else:
            self.sizes = lambda ids: dataset.sizes[ids].astype(np.int64)

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        # open, read and close by descriptor: half the time of a file object at 2 KiB a file. A fixed first read saves
        # the stat; longer files are read on.
        return [self._read_one(f"{self._root}/{self._path(i)}") for i in ids.tolist()]

    @staticmethod
    def _read_one(path: str) -> NDArray[np.uint8]:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; build the dataset again with --force") from error
        try:
            data = os.read(descriptor, 1 << 16)
            if len(data) == 1 << 16:
                data += Path(path).read_bytes()[1 << 16 :]
        finally:
            os.close(descriptor)
        return np.frombuffer(data, dtype=np.uint8)


class PackStore:
    """The original bytes (`jpeg`) or decoded pixels (`raw`), out of a pack: views into the memory map, no copies."""

    def __init__(self, dataset: Dataset, kind: Literal["jpeg", "raw"]) -> None:
        self.encoded = kind == "jpeg"
        self._pack = dataset.pack(kind)
        index = self._pack.index
        if dataset.image_size is not None:
            self.sizes = _uniform(dataset.image_size)
        else:
            self.sizes = lambda ids: np.stack([index["height"][ids], index["width"][ids]], axis=1).astype(np.int64)

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return self._pack.encoded(ids) if self.encoded else self._pack.pixels(ids)


class ResidentStore:
    """All pixels of the dataset in one tensor uint8 [N, height, width, 3] in the memory of the device."""

    encoded = False

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        if dataset.image_size is None:
            raise InputError("--store resident: needs images of one size, here they vary; use --store raw")
        self.sizes = _uniform(dataset.image_size)
        self.pixels = _resident_pixels(dataset, device)
        self._host = self.pixels.numpy() if device.type == "cpu" else None

    def read(self, ids: NDArray[np.int64]) -> Images:
        if self._host is not None:
            return list(map(self._host.__getitem__, ids.tolist()))
        index = torch.from_numpy(ids).pin_memory().to(self.pixels.device, non_blocking=True)
        return self.pixels.index_select(0, index)


# Train and val loaders of one dataset share the pixels; they go when the dataset does.
_RESIDENT: "WeakKeyDictionary[Dataset, dict[torch.device, torch.Tensor]]" = WeakKeyDictionary()


def _resident_pixels(dataset: Dataset, device: torch.device) -> torch.Tensor:
    held = _RESIDENT.setdefault(dataset, {})
    if device not in held:
        assert dataset.image_size is not None
        pack = dataset.pack("raw")
        try:
            pixels = torch.empty((dataset.count, *dataset.image_size, 3), dtype=torch.uint8, device=device)
        except (RuntimeError, torch.OutOfMemoryError) as error:
            raise InputError(
                f"--store resident: {pack.nbytes / 2**30:.1f} GiB of pixels do not fit on {device}; use --store raw"
            ) from error
        for start in range(0, dataset.count, 1024):
            ids = np.arange(start, min(start + 1024, dataset.count), dtype=np.int64)
            pixels[start : start + len(ids)] = torch.from_numpy(np.stack(pack.pixels(ids)))
        held[device] = pixels
    return held[device]


def choose_store(dataset: Dataset) -> StoreName:
    """What `--store auto` takes: the fastest store whose pack was built."""
    if "raw" in dataset.packs:
        return "raw"
    return "jpeg" if "jpeg" in dataset.packs else "files"


def open_store(name: StoreName, dataset: Dataset, device: torch.device) -> Store:
    """Opens a store of a dataset.

    Raises:
        InputError: if there is no such store, or the dataset was built without its pack.
    """
    if name == "files":
        return FilesStore(dataset)
    if name in ("jpeg", "raw"):
        return PackStore(dataset, name)
    if name == "resident":
        return ResidentStore(dataset, device)
    raise InputError(f"--store {name}: choose one of auto, {', '.join(STORES)}")
