"""Compares what lies in a dataset folder with what was written."""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from feedline.convert.trees.names import visible_names
from feedline.pipeline.dataset import PARTS, Dataset, Pack
from feedline.pipeline.dataset.checksums import ARRAY, LISTING, checksum, file_checksum, load_checksums, read_listing
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.errors import InputError, first_line

Finding = tuple[str, str]  # a file or image, and what is wrong with it


def check_listed(root: Path) -> list[Finding]:
    """Compares the files that are no images with their checksums."""
    try:
        listing = read_listing(root)
    except InputError as error:
        return [(LISTING, first_line(error, 1000))]
    if listing is None:  # a dataset that was built before there were checksums has none of images either
        with_checksums = [*root.glob(f"index/{ARRAY}"), *root.glob(f"packs/*/{ARRAY}")]
        return [(LISTING, "missing, so index and lists were not compared")] if with_checksums else []
    findings = []
    for path, wanted in listing.items():
        try:
            if file_checksum(root / path) != wanted:
                findings.append((path, "changed"))
        except OSError as error:
            missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
            findings.append((path, "missing" if missing else f"cannot be read ({error.strerror})"))
    return findings


def check_names(dataset: Dataset) -> list[Finding]:
    """Finds data files of packs that are missing, and files that do not belong to the dataset and are not hidden.

    Raises:
        InputError: if the index of paths is damaged.
    """
    known = {dataset.path(image) for image in range(dataset.count)}
    try:
        listing = read_listing(dataset.root)
    except InputError:  # a finding of `check_listed`
        listing = None
    packs = {f"packs/{kind}/{n:05d}.bin" for kind, about in dataset.packs.items() for n in range(int(about["files"]))}
    top = tuple(f"{part}/" for part in PARTS)
    findings = [(path, "missing") for path in sorted(packs) if not (dataset.root / path).exists()]
    for folder, folders, names in os.walk(dataset.root):
        folders.sort()
        prefix = "" if (short := os.path.relpath(folder, dataset.root)) == "." else f"{short}/".replace(os.sep, "/")
        for path in visible_names(prefix + name for name in sorted(names))[0]:
            written = path in known or path in packs or path == LISTING or (listing is not None and path in listing)
            if not written and (listing is not None or path.startswith(top)):
                findings.append((path, "does not belong to the dataset"))
    return findings


@dataclass(frozen=True)
class Job:
    """Images for a worker: those of a dataset folder from `start` to before `stop`, in the run of that number."""

    root: str
    run: int
    start: int
    stop: int


def check_images(job: Job) -> list[Finding]:
    """Reads images, their files and what packs hold of them."""
    folder = _open(job.root, job.run)
    findings = []
    for image in range(job.start, job.stop):
        findings += folder.check(image)
    return findings


@lru_cache(maxsize=1)
def _open(root: str, run: int) -> "_Folder":
    del run  # part of the cache key only: what was open in the last run may have been replaced
    return _Folder(Dataset(root))


class _Folder:
    """A dataset folder, open for comparing."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._files = load_checksums(dataset.root / "index", dataset.count)
        self._packs = {kind: dataset.pack(kind) for kind in dataset.packs}
        self._checksums = {kind: load_checksums(pack.folder, dataset.count) for kind, pack in self._packs.items()}

    def check(self, image: int) -> list[Finding]:
        path = self._dataset.path(image)
        data, wrong = self._read(path)
        if data is not None and self._files is not None and checksum(data) != self._files[image]:
            wrong = "changed"
        findings = [(f"{path} (image {image})", wrong)] if wrong else []
        pixels = None
        if data is not None and self._files is None:
            try:
                pixels = decode(data).pixels
            except DecodeError as error:
                findings = [(f"{path} (image {image})", f"does not decode ({first_line(error)})")]
        for kind, pack in self._packs.items():
            if wrong := self._wrong_in(kind, pack, image, pixels):
                findings.append((f"packs/{kind}, image {image} ({path})", wrong))
        return findings

    def _read(self, path: str) -> tuple[bytes | None, str]:
        try:
            return (self._dataset.root / path).read_bytes(), ""
        except (FileNotFoundError, NotADirectoryError):
            return None, "missing"
        except OSError as error:
            return None, f"cannot be read ({error.strerror})"

    def _wrong_in(self, kind: str, pack: Pack, image: int, pixels: NDArray[np.uint8] | None) -> str:
        """What is wrong with an image in a pack; empty if nothing is, or nothing is known."""
        try:
            data = pack.read(image)
        except InputError:
            return "lies outside the data"
        except OSError as error:
            return f"cannot be read ({error.strerror})"
        checksums = self._checksums[kind]
        if checksums is not None:
            return "" if checksum(data) == checksums[image] else "changed"
        try:
            if kind == "jpeg":
                decode(data)
            elif pixels is not None and pixels.nbytes == len(data) and pixels.tobytes() != data:
                return "has other pixels than the file"
        except DecodeError as error:
            return f"does not decode ({first_line(error)})"
        return ""
