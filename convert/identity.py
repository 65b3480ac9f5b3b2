"""What a source is and holds: whether a dataset is still the one that a second run asks for.

A URL, `tiny-imagenet` and `sample` are known by their names: nothing is downloaded to find out that nothing is to do.
A file or a folder is known by the names, sizes and times of its files, in `source.npy` of the dataset folder.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.convert.download import checksum
from feedline.convert.remote import Remote
from feedline.convert.sample import VERSION
from feedline.convert.sources import TINY_IMAGENET, default_name, path_files
from feedline.convert.trees import Readable
from feedline.output import counted
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError

TABLE = "source.npy"  # in the dataset folder
FIELDS = 3  # of a file in the table: a hash of its name, its bytes, its time


@dataclass(frozen=True)
class Source:
    """What a source is and holds.

    Attributes:
        name: see `default_name`.
        about: what it is, as dataset.json keeps it: a URL and its checksum, a version, or the number of files.
        table: uint64 [files, FIELDS], sorted; empty for what is known by its name.
    """

    name: str
    about: dict[str, Any]
    table: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, FIELDS), dtype=np.uint64))

    def write(self, folder: Path) -> None:
        """Writes the table, if there is one, into a dataset folder."""
        if len(self.table):
            np.save(folder / TABLE, self.table)


def identify(source: str, tree: Readable | None = None) -> Source:
    """Looks at a source.

    Args:
        source: see `open_source`.
        tree: of its files, if it is listed already.

    Raises:
        InputError: if it is a path, and there is nothing.
    """
    name = default_name(source)
    if source == "sample":
        return Source(name, {"sample": VERSION})
    if source == "tiny-imagenet" or "://" in source:
        remote = TINY_IMAGENET if source == "tiny-imagenet" else Remote.parse(source)
        return Source(name, {"url": remote.url, **({remote.algorithm: remote.digest} if remote.digest else {})})
    files = path_files(source, tree)
    return Source(name, {"files": len(files)}, _table(files))


def check_source(dataset: Dataset, source: str, again: str) -> str:
    """Checks that a dataset was built from this source, as it is now.

    Args:
        dataset: the dataset.
        source: see `open_source`.
        again: the command that builds it again.

    Returns:
        What cannot be known, for the user; empty if all is known.

    Raises:
        InputError: if it was built from another source, or the source has changed since.
    """
    before, origin = dataset.meta.get("build", {}), dataset.meta.get("source", {})
    about = before.get("from")
    try:
        now = identify(source)
    except InputError:
        if before.get("source") != default_name(source):
            raise
        return f"the source is gone, so whether {dataset.root} still is what it held cannot be known"
    if "url" in now.about:
        _check_url(dataset, about or origin, source, now, again)
        return ""
    if about is None:
        return _check_older(dataset, source, now, again)
    if about == now.about and "sample" in about:
        return ""
    table = _read_table(dataset.root)
    if (table is not None and np.array_equal(table, now.table)) or _has_checksum(source, origin):
        return ""
    if about.keys() != now.about.keys() or "sample" in about:
        raise _other(dataset, source, _describe(about, before), again)
    if table is None:
        return f"its {TABLE} is missing or damaged: whether the source has changed is not known"
    raise _changed(dataset, source, table, now.table, again)


def _check_url(dataset: Dataset, about: dict[str, Any], source: str, now: Source, again: str) -> None:
    known = {**dataset.meta.get("source", {}), **about}  # a download's md5 is known even if none was asked for
    same_file = "md5" in now.about and known.get("md5") == now.about["md5"]
    same_url = "url" in known and all(known.get(key, value) == value for key, value in now.about.items())
    if not same_file and not same_url:
        raise _other(dataset, source, _describe(about, dataset.meta.get("build", {})), again)


def _check_older(dataset: Dataset, source: str, now: Source, again: str) -> str:
    """As `check_source`, for datasets of before sources were recorded."""
    origin, name = dataset.meta.get("source", {}), dataset.meta.get("build", {}).get("source")
    if _has_checksum(source, origin):
        return ""
    if name != now.name:
        raise _other(dataset, source, str(name), again)
    if "sample" in now.about:
        return ""
    if "md5" in origin and Path(source).is_file():
        raise InputError(f"{dataset.root}: {source} has changed since it was built; build it again with: {again}")
    return "it was built by a version that did not record the source's files: whether they changed is not known"


def _has_checksum(source: str, origin: dict[str, Any]) -> bool:
    """Whether a source is one file with the recorded content, wherever it came from and however new it is."""
    md5, path = origin.get("md5"), Path(source)
    return md5 is not None and path.is_file() and checksum(path, "md5") == md5


def _changed(
    dataset: Dataset, source: str, before: NDArray[np.uint64], now: NDArray[np.uint64], again: str
) -> InputError:
    """The error for a source whose files are not those of before: it says which."""
    names, name = (before[:, 0], now[:, 0]), dataset.meta.get("build", {}).get("source")
    more, fewer = int((~np.isin(names[1], names[0])).sum()), int((~np.isin(names[0], names[1])).sum())
    same, same_size = _common(before, now, FIELDS), _common(before, now, FIELDS - 1)
    one_file = len(before) == len(now) == 1
    if (one_file and name != default_name(source)) or (not one_file and not same_size):
        return _other(dataset, source, str(name) if one_file else f"{name}: none of its files is the same", again)
    changed = len(now) - more - same
    only = " (in time, not in size)" if changed and changed == same_size - same else ""
    counts = "" if one_file else f": {counted(more, 'file more')}, {fewer:,} fewer, {changed:,} changed{only}"
    return InputError(f"{dataset.root}: {source} has changed since it was built{counts}; build it again with: {again}")


def _common(a: NDArray[np.uint64], b: NDArray[np.uint64], fields: int) -> int:
    """Files of two tables that have the same name and size, and time if `fields` has it."""
    return len({*map(tuple, a[:, :fields].tolist())} & {*map(tuple, b[:, :fields].tolist())})


def _other(dataset: Dataset, source: str, before: str, again: str) -> InputError:
    return InputError(
        f"{dataset.root}: was built from another source than {source} ({before}); replace it with: {again}, or choose "
        "another `out`"
    )


def _describe(about: dict[str, Any], build: dict[str, Any]) -> str:
    return str(about.get("url") or build.get("source"))


def _table(files: dict[str, tuple[int, int]]) -> NDArray[np.uint64]:
    """The table of {name: (bytes, time in ns)}."""
    table = np.empty((len(files), FIELDS), dtype=np.uint64)
    for row, (name, (size, time)) in enumerate(files.items()):
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        table[row] = int.from_bytes(digest, "little"), size, max(time, 0)
    return table[np.argsort(table[:, 0], kind="stable")]


def _read_table(root: Path) -> NDArray[np.uint64] | None:
    try:
        table: NDArray[np.uint64] = np.load(root / TABLE)
    except Exception:  # numpy raises whatever the bytes lead to
        return None
    return table if table.dtype == np.uint64 and table.ndim == 2 and table.shape[1] == FIELDS else None
