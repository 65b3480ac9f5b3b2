"""Small trees of images for tests of layouts: names and bytes, without decoding anything."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from feedline import InputError
from feedline.convert.layouts import Listing, Wanted
from feedline.convert.layouts.choose import GUESS
from feedline.convert.sources import open_source
from tests.convert.helpers import jpeg

JPEG = jpeg(0, (8, 8))


def write(root: Path, files: Iterable[str], data: bytes = JPEG) -> Path:
    """Writes files of the same bytes; `a/{0..3}.jpg` stands for four of them."""
    for pattern in files:
        before, brace, rest = pattern.partition("{0..")
        last, _, after = rest.partition("}")
        for name in [f"{before}{i}{after}" for i in range(int(last) + 1)] if brace else [pattern]:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return root


def listed(root: Path, wanted: Wanted = GUESS) -> Listing:
    """The listing of a folder."""
    with open_source(str(root), root.parent / "downloads", root.parent / "out", wanted) as listing:
        return listing


def counts(listing: Listing) -> dict[str, dict[str, int]]:
    """{part: {class: images}}"""
    result: dict[str, dict[str, int]] = {}
    for item in listing.items:
        of_part = result.setdefault(item.part, {})
        name = listing.classes[item.label].folder
        of_part[name] = of_part.get(name, 0) + 1
    return result


def refused(root: Path) -> str:
    """The line with which a folder is refused."""
    with pytest.raises(InputError) as caught:
        listed(root)
    assert "\n" not in caught.value.message
    return caught.value.message
