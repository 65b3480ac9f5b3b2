"""How much room a dataset folder takes, before it is written."""

import io
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from feedline.convert.sources import Damaged, Item, Listing
from feedline.pipeline.errors import InputError

PROBED = 64  # images whose size in pixels stands for all
BLOCK = 4096  # bytes in which file systems give out room
INDEX = 128  # bytes an image in lists and indexes


def needed(listing: Listing, packs: Sequence[str], max_size: int | None) -> int:
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
    except (Damaged, Exception):
        return 0
    scale = min(1.0, (max_size or min(width, height)) / min(width, height))
    return round(width * scale) * round(height * scale)


def require(listing: Listing, out: Path, packs: Sequence[str], max_size: int | None) -> None:
    """Raises InputError if there is not enough room for the folder at `out`."""
    free, wanted = shutil.disk_usage(out.parent).free, needed(listing, packs, max_size)
    if wanted > free:
        raise InputError(
            f"{out}: needs about {_gib(wanted)} and {_gib(free)} are free there; make room, choose another --out, or "
            "write less with --packs jpeg or --max-size"
        )


def _gib(count: int) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**27 else f"{count / 2**20:,.1f} MiB"
