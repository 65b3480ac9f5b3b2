"""Changes to dataset folders."""

import json
from pathlib import Path
from typing import Any


def edit(root: Path, **changes: Any) -> None:
    """Changes dataset.json."""
    path = root / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def forget_checksums(root: Path) -> None:
    """Makes of a dataset one that was built before there were checksums."""
    for path in [*root.glob("index/checksums.npy"), *root.glob("packs/*/checksums.npy"), root / "checksums.txt"]:
        path.unlink()


def flip_bit(path: Path, position: int) -> None:
    """Changes one bit of a byte of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 16
    path.write_bytes(data)
