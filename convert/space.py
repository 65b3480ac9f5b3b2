"""Estimates the disk space that a dataset folder needs, before it is written."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from feedline.convert.layouts import Item, Listing
from feedline.convert.stored import store
from feedline.pipeline.dataset.inspection import inspect
from feedline.pipeline.errors import InputError

PROBED = 64  # images that are converted to estimate the size of all
PROBED_BYTES = 32 << 20  # of photos fewer will do: this many take a second
BLOCK = 4096  # bytes; file systems allocate whole blocks
INDEX = 128  # bytes per image in lists and indexes


def check_space(listing: Listing, out: Path, packs: Sequence[str], max_size: int | None) -> None:
    """Checks that the disk has enough space for the dataset folder `out`.

    Raises:
        InputError: if it has not.
    """
    require_space(bytes_needed(listing, packs, max_size), out)


def require_space(needed: int, out: Path) -> None:
    """Checks that the disk has `needed` bytes for the dataset folder `out`.

    Raises:
        InputError: if it has not.
    """
    free = shutil.disk_usage(out.parent).free
    if needed > free:
        raise InputError(
            f"{out}: needs about {_size(needed)}, and {_size(free)} are free there; free some space, choose another "
            "`out`, or write less with `packs=jpeg` or `max_size`"
        )


def bytes_needed(listing: Listing, packs: Sequence[str], max_size: int | None) -> int:
    """Bytes that the folder will take, to a few percent: the files, packs, lists."""
    items = listing.items
    probes = [
        (item.size, *sizes)
        for item in _spread(items)
        if (sizes := probe(partial(listing.tree.read, item.name), max_size))
    ]
    before, after, pixels = (sum(column) for column in zip(*probes, strict=True)) if probes else (1, 1, 0)
    files = [item.size * after // max(before, 1) for item in items]
    return folder_bytes(files, len(files) * pixels // max(len(probes), 1), packs)


def folder_bytes(files: Sequence[int], pixels: int, packs: Sequence[str]) -> int:
    """Bytes of a dataset folder: files, packs, lists.

    Args:
        files: bytes of each image file.
        pixels: of all images.
        packs: their kinds.
    """
    on_disk = sum(-(-size // BLOCK) * BLOCK for size in files) + INDEX * len(files)
    return on_disk + sum(files) * ("jpeg" in packs) + 3 * pixels * ("raw" in packs)


def probe(read: Callable[[], bytes], max_size: int | None) -> tuple[int, int] | None:
    """Bytes and pixels of an image in the folder; None if it cannot be read, or does not decode."""
    try:
        stored = store(inspect(read()), max_size)
    except Exception:  # whatever is wrong is reported when the image is converted
        return None
    return len(stored.data), stored.pixels.shape[0] * stored.pixels.shape[1]


def _spread(items: Sequence[Item]) -> Sequence[Item]:
    """Some of the images, evenly spread; fewer if they are large."""
    mean = sum(item.size for item in items) // max(len(items), 1)
    count = min(max(PROBED_BYTES // max(mean, 1), 4), PROBED)
    return items[:: max(len(items) // count, 1)]


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**27 else f"{count / 2**20:,.1f} MiB"
