"""Stores hand out the bytes or the pixels of image i.

There are four, from least preparation to most speed: `files` reads one file per image, `jpeg` reads the same bytes from
a pack, `raw` reads decoded pixels from a pack, and `resident` keeps those pixels in the memory of a GPU.
"""

from feedline.pipeline.stores.choose import (
    STORES,
    Store,
    StoreName,
    choose_store,
    open_store,
    resolve_store,
    stores_on,
)
from feedline.pipeline.stores.encoded import EncodedStore, FilesStore, JpegStore
from feedline.pipeline.stores.host import HostStore
from feedline.pipeline.stores.raw import RawStore
from feedline.pipeline.stores.resident import ResidentStore

__all__ = [
    "STORES",
    "EncodedStore",
    "FilesStore",
    "HostStore",
    "JpegStore",
    "RawStore",
    "ResidentStore",
    "Store",
    "StoreName",
    "choose_store",
    "open_store",
    "resolve_store",
    "stores_on",
]
