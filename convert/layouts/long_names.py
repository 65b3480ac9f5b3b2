"""Names that are longer than file systems take: in archives they may have any length."""

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath

MAX_NAME = 255  # bytes
MAX_PATH = 3000  # bytes; Linux takes 4096, with the folders around the dataset
TOO_DEEP = f"its path is longer than {MAX_PATH:,} bytes; move it up"

_SUFFIX = 16  # bytes of a name's end that may be a suffix
_DIGITS = 8
_SHOWN = 30  # characters of a name in a line


def fit(path: str) -> str:
    """A path whose names fit: the beginning of each longer one, 8 digits that no other one has, and its suffix."""
    if 4 * len(path) <= MAX_NAME:  # a character has four bytes at most
        return path
    return "/".join(map(_fit, path.split("/")))


def is_deep(path: str) -> bool:
    """Whether a path is too long, however its names are shortened."""
    return 4 * len(path) > MAX_PATH and len(path.encode("utf-8", "surrogateescape")) > MAX_PATH


def notes_on_shorter(paths: Mapping[str, str]) -> list[str]:
    """A line on names that were shortened: {name: path in the dataset}."""
    if not paths:
        return []
    name, path = min(paths.items())
    return [
        f"names longer than {MAX_NAME} bytes, which are shorter in the dataset: {len(paths):,}, the first "
        f"{name[:_SHOWN]}... as {path[:_SHOWN]}..."
    ]


def _fit(name: str) -> str:
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= MAX_NAME:
        return name
    suffix = PurePosixPath(name).suffix
    suffix = suffix if len(suffix.encode("utf-8", "surrogateescape")) <= _SUFFIX else ""
    end = f"~{hashlib.blake2b(data, digest_size=_DIGITS // 2).hexdigest()}{suffix}"
    kept = data[: MAX_NAME - len(end.encode("utf-8", "surrogateescape"))]
    return kept.decode("utf-8", "ignore") + end
