"""Which store to take, and how to open it."""

import logging
from collections.abc import Callable
from typing import Literal, TypeAlias
from weakref import WeakSet

import torch

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.dataset.mapping import machine_memory
from feedline.pipeline.stores.encoded import FilesStore, JpegStore
from feedline.pipeline.stores.host import HostStore
from feedline.pipeline.stores.raw import RawStore
from feedline.pipeline.stores.resident import ResidentStore

logger = logging.getLogger(__name__)
_WARNED: "WeakSet[Dataset]" = WeakSet()  # about `resident` without a GPU

Store: TypeAlias = HostStore | ResidentStore
StoreName = Literal["files", "jpeg", "raw", "resident"]
STORES: tuple[StoreName, ...] = ("files", "jpeg", "raw", "resident")


def stores_on(device: torch.device) -> tuple[StoreName, ...]:
    """The stores that a device can have: `resident` needs a GPU."""
    return STORES if device.type == "cuda" else tuple(name for name in STORES if name != "resident")


_OPEN: dict[str, Callable[[Dataset], HostStore]] = {"files": FilesStore, "jpeg": JpegStore, "raw": RawStore}


def open_store(name: StoreName, dataset: Dataset, device: torch.device) -> Store:
    """Opens a store of a dataset.

    Raises:
        InputError: if the dataset was built without its pack, or its pixels cannot be resident.
    """
    if name == "resident":
        return ResidentStore(dataset, device)
    return _OPEN[name](dataset)


def resolve_store(name: StoreName | Literal["auto"], dataset: Dataset, device: torch.device) -> StoreName:
    """The store that a loader opens.

    `auto` is decided. `resident` without a GPU becomes `raw`, which is logged once for the loaders of a dataset.
    """
    if name == "auto":
        return choose_store(dataset, device)[0]
    if name == "resident" and device.type == "cpu":
        if dataset not in _WARNED:
            _WARNED.add(dataset)
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
