"""Stores hand out the bytes or the pixels of image i.

Four of them, from the least preparation to the most speed: `files` reads one file an image, `jpeg` takes the same bytes
out of a pack, `raw` takes decoded pixels out of a pack, `resident` holds those pixels in the memory of the device.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.buffers import aligned
from feedline.pipeline.dataset import AGAIN, Dataset, Pack, machine_memory
from feedline.pipeline.decode import DecodeError, decode, decode_plain
from feedline.pipeline.errors import InputError

StoreName = Literal["files", "jpeg", "raw", "resident"]
STORES: tuple[StoreName, ...] = ("files", "jpeg", "raw", "resident")

# What a store holds of a batch: an array an image (1-D encoded bytes or HWC pixels) on the host, or one uint8 tensor
# [B, height, width, 3] on the device.
Images: TypeAlias = "list[NDArray[np.uint8]] | torch.Tensor"


class Store(Protocol):
    """Where images come from.

    Attributes:
        encoded: it holds the bytes of image files rather than pixels.
        size: (height, width) in pixels of all images, None if they vary.
        large: memory cannot hold it: it shall be told of every image that will be read, not only of neighbours.
    """

    encoded: bool
    large: bool
    size: tuple[int, int] | None

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Height and width of some images in pixels: int64 [B, 2]."""

    def read(self, ids: NDArray[np.int64]) -> Images:
        """Some images as the store holds them."""

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Some images decoded: uint8 [height, width, 3] each."""

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Some images decoded into `out`, uint8 [B, height, width, 3]; only where all share one size."""

    def held(self, ids: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """The array on the host that holds all images, uint8 [N, height, width, 3], some of them about to be read.

        None where there is no such array.
        """

    def expect(self, ids: NDArray[np.int64]) -> None:
        """These images will be read soon."""


class _EncodedStore:
    """What stores of image files have in common: they decode when pixels are asked for."""

    encoded = True
    large = False

    def __init__(self, dataset: Dataset) -> None:
        self._dataset, self.size = dataset, dataset.image_size
        self._plain = dataset.plain

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.size is not None:
            return np.broadcast_to(np.array(self.size, dtype=np.int64), (len(ids), 2))
        return self._dataset.sizes[ids].astype(np.int64)

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        raise NotImplementedError

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

    def held(self, ids: NDArray[np.int64]) -> None:
        """No pixels."""

    def expect(self, ids: NDArray[np.int64]) -> None:
        """Files lie where they lie."""

    def _decode(self, image: int, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            return decode(data).pixels
        except DecodeError as error:
            raise self._damaged(image, error) from error

    def _damaged(self, image: int, error: Exception) -> InputError:
        path = self._dataset.root / self._dataset.path(image)
        return InputError(f"{path}: does not decode any more ({error}); {AGAIN}")


class FilesStore(_EncodedStore):
    """One file an image, read when it is asked for."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._root, self._path = os.fspath(dataset.root), dataset.path

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        # open, read and close by descriptor: half the time of a file object at 2 KiB a file. A fixed first read saves
        # the stat; longer files are read on.
        return [self._read_one(f"{self._root}/{self._path(i)}") for i in ids.tolist()]

    @staticmethod
    def _read_one(path: str) -> NDArray[np.uint8]:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; {AGAIN}") from error
        try:
            data = os.read(descriptor, 1 << 16)
            if len(data) == 1 << 16:
                data += Path(path).read_bytes()[1 << 16 :]
        finally:
            os.close(descriptor)
        return np.frombuffer(data, dtype=np.uint8)


class JpegStore(_EncodedStore):
    """The original bytes out of a pack: views into the memory map, no copies."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._pack = dataset.pack("jpeg")
        self.size, self.large = self._pack.size, self._pack.large

    def sizes(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._pack.sizes(ids)

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        return self._pack.encoded(ids)

    def expect(self, ids: NDArray[np.int64]) -> None:
        self._pack.expect(ids)


class RawStore:
    """Decoded pixels out of a pack: views into the memory map."""

    encoded = False

    def __init__(self, dataset: Dataset) -> None:
        self._pack = pack = dataset.pack("raw")
        self.size, self.sizes, self.expect, self.large = pack.size, pack.sizes, pack.expect, pack.large
        self.read = self.pixels = pack.pixels
        self.gather = pack.gather
        self._images = None if pack.size is None else pack.in_one_file(pack.size)

    def held(self, ids: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        self._pack.check_files()
        return self._images


class ResidentStore:
    """All pixels of the dataset in one tensor uint8 [N, height, width, 3] in the memory of the device.

    A GPU gets them at once. On the host an image comes in when it is first asked for, so that nobody waits for all.
    """

    encoded = False
    large = False

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        pack = dataset.pack("raw")
        if pack.size is None:
            raise InputError("--store resident: needs images of one size, here they vary; use --store raw")
        self.size: tuple[int, int] | None = pack.size
        self.sizes, self._pack = pack.sizes, pack
        self._held = _resident_pixels(dataset, pack, pack.size, device)
        self._host = self._held.pixels.numpy() if device.type == "cpu" else None

    def read(self, ids: NDArray[np.int64]) -> Images:
        if self._host is not None:
            return self.pixels(ids)
        pixels = self._held.pixels
        index = torch.from_numpy(ids).pin_memory().to(pixels.device, non_blocking=True)
        return pixels.index_select(0, index)

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        assert self._host is not None
        self._bring_in(ids)
        return list(map(self._host.__getitem__, ids.tolist()))

    def held(self, ids: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        self._bring_in(ids)
        return self._host

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        assert self._host is not None
        self._bring_in(ids)
        self._host.take(ids, axis=0, out=out, mode="clip")

    def _bring_in(self, ids: NDArray[np.int64]) -> None:
        """Copies what is asked for the first time. Threads that meet write the same bytes."""
        here = self._held.here
        there = here[ids]
        if there.all():
            return
        assert self._host is not None
        missing = ids[~there]
        some = np.empty((len(missing), *self._host.shape[1:]), dtype=np.uint8)
        self._pack.gather(missing, some)
        self._host[missing] = some
        here[missing] = True

    def expect(self, ids: NDArray[np.int64]) -> None:
        """All are here."""


@dataclass(frozen=True)
class _Held:
    """Resident pixels, uint8 [N, height, width, 3], and which of them are there already, bool [N]."""

    pixels: torch.Tensor
    here: NDArray[np.bool_]


# Train and val loaders of one dataset share the pixels; they go when the dataset does.
_RESIDENT: "WeakKeyDictionary[Dataset, dict[torch.device, _Held]]" = WeakKeyDictionary()


def _resident_pixels(dataset: Dataset, pack: Pack, size: tuple[int, int], device: torch.device) -> _Held:
    held = _RESIDENT.setdefault(dataset, {})
    if device not in held:
        shape = (dataset.count, *size, 3)
        try:
            on_host = torch.from_numpy(aligned(shape, np.uint8)) if device.type == "cpu" else None
            pixels = torch.empty(shape, dtype=torch.uint8, device=device) if on_host is None else on_host
        except (RuntimeError, MemoryError, torch.OutOfMemoryError) as error:
            raise InputError(
                f"--store resident: {pack.nbytes / 2**30:.1f} GiB of pixels do not fit on {device}; use --store raw"
            ) from error
        if on_host is None:
            for start in range(0, dataset.count, 1024):
                ids = np.arange(start, min(start + 1024, dataset.count), dtype=np.int64)
                some = torch.empty((len(ids), *size, 3), dtype=torch.uint8)
                pack.gather(ids, some.numpy())
                pixels[start : start + len(ids)].copy_(some)
        held[device] = _Held(pixels, np.full(dataset.count, on_host is None))
    return held[device]


_OPEN: dict[str, Callable[[Dataset], Store]] = {"files": FilesStore, "jpeg": JpegStore, "raw": RawStore}


def open_store(name: StoreName, dataset: Dataset, device: torch.device) -> Store:
    """Opens a store of a dataset.

    Raises:
        InputError: if there is no such store, or the dataset was built without its pack.
    """
    if name == "resident":
        return ResidentStore(dataset, device)
    if name not in _OPEN:
        raise InputError(f"--store {name}: choose one of auto, {', '.join(STORES)}")
    return _OPEN[name](dataset)


def choose_store(dataset: Dataset, device: torch.device) -> tuple[StoreName, str]:
    """What `--store auto` takes, and why.

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
