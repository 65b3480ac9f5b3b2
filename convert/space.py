"""Estimates the disk space that a dataset folder needs, before it is written."""

import io
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from feedline.convert.layouts import Item, Listing
from feedline.pipeline.errors import InputError

PROBED = 64  # images whose size in pixels is read to estimate that of all
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
    """Bytes that the folder will take, to a few percent: copies of the files, packs, lists."""
    sizes = [item.size for item in listing.items]
    total = sum(-(-size // BLOCK) * BLOCK for size in sizes) + INDEX * len(sizes)
    if "jpeg" in packs:
        total += sum(sizes)
    if "raw" in packs:
        step = max(len(sizes) // PROBED, 1)
        pixels = [p for item in listing.items[::step] if (p := _pixels(listing, item, max_size))]
        total += 3 * len(sizes) * sum(pixels) // max(len(pixels), 1)
    return total


def _pixels(listing: Listing, item: Item, max_size: int | None) -> int:
    """Pixels of an image in a raw pack, by its header; 0 if that cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width, height = Image.open(io.BytesIO(listing.tree.read(item.name))).size
    except Exception:  # whatever is wrong is reported when the image is converted
        return 0
    return packed_pixels(height, width, max_size)


def packed_pixels(height: int, width: int, max_size: int | None) -> int:
    """Pixels in a raw pack of an image of this size."""
    scale = min(1.0, (max_size or min(width, height)) / min(width, height))
    return round(width * scale) * round(height * scale)


def _size(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**27 else f"{count / 2**20:,.1f} MiB"
