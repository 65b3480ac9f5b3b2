"""What to build."""

import contextlib
import hashlib
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedline.convert.layouts import Wanted
from feedline.convert.perceptual import NEAR, min_pixels
from feedline.pipeline.dataset import PACK_KINDS
from feedline.pipeline.errors import InputError, did_you_mean

MIN_SIZE = 8  # pixels


@dataclass(frozen=True)
class Options:
    """What to build, checked.

    Attributes:
        source: see `open_source`.
        out: the dataset folder.
        packs: kinds of packs.
        val_fraction: share of val in the stratified split, in [0, 1); 0 for the source's split alone.
        seed: of the stratified split.
        workers: processes that decode.
        strict: stop at an image that cannot be used, instead of leaving it out.
        max_size: limit of the shorter side, in pixels; None for no limit.
        group: column of the source's table or regular expression over paths in the source: images with the same value
            stay on one side of the stratified split; None for no groups.
        near_duplicates: `on` and `off` find images that look alike, or do not; `auto` where that costs less than the
            decoding, and the package ImageHash is installed.
        labels, image_column, label_column, classes_file: see `Wanted`.

    Raises:
        InputError: if a value is out of range.
    """

    source: str
    out: Path
    packs: tuple[str, ...]
    val_fraction: float
    seed: int
    workers: int
    strict: bool
    max_size: int | None = None
    group: str | None = None
    near_duplicates: str = "auto"
    labels: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    classes_file: Path | None = None

    def __post_init__(self) -> None:
        for name in ("seed", "workers", "max_size"):
            value = getattr(self, name)
            if name == "max_size" and value is None:
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__"):
                raise InputError(f"`{name}={value!r}`: must be a whole number")
            object.__setattr__(self, name, operator.index(value))  # of numpy's
        if not isinstance(self.val_fraction, (int, float)):
            raise InputError(f"`val_fraction={self.val_fraction!r}`: must be a number")
        for kind in self.packs:
            if kind not in PACK_KINDS:
                raise InputError(f"`packs={kind}`: choose from {', '.join(PACK_KINDS)}{did_you_mean(kind, PACK_KINDS)}")
        if not 0 <= self.val_fraction < 1:
            raise InputError(f"`val_fraction={self.val_fraction}`: must be at least 0 and below 1")
        if self.max_size is not None and self.max_size < MIN_SIZE:
            raise InputError(f"`max_size={self.max_size}`: must be at least {MIN_SIZE} pixels")
        for name in ("labels", "image_column", "label_column"):
            if getattr(self, name) == "":
                raise InputError(
                    f"`{name}`: is empty; leave it out, or name a {'file' if name == 'labels' else 'column'}"
                )
        if self.near_duplicates not in NEAR:
            near = str(self.near_duplicates)
            raise InputError(f"`near_duplicates={near}`: choose from {', '.join(NEAR)}{did_you_mean(near, NEAR)}")
        min_pixels(self.near_duplicates)
        if self.workers < 1:
            raise InputError(f"`workers={self.workers}`: must be at least 1")

    def identity(self) -> dict[str, Any]:
        """The options that change the dataset, as dataset.json keeps them.

        A file counts by its checksum, not its path. None is as good as no entry: so is an option that came later.
        """
        return {
            "packs": list(self.packs),
            "val_fraction": self.val_fraction,
            "seed": self.seed,
            "max_size": self.max_size,
            "group": self.group,
            "labels": self.labels and _digest(self.labels),
            "image_column": self.image_column,
            "label_column": self.label_column,
            "classes_file": self.classes_file and _digest(self.classes_file),
        }

    @property
    def wanted(self) -> Wanted:
        """How labels are to be found."""
        return Wanted(self.labels, self.image_column, self.label_column, self.classes_file)


def pack_kinds(packs: str | Iterable[str]) -> tuple[str, ...]:
    """The kinds in `jpeg,raw`, or in a list, sorted; empty for `none`.

    Raises:
        InputError: if it is neither, or there is something beside `none`.
    """
    listed = packs.split(",") if isinstance(packs, str) else list(packs) if isinstance(packs, Iterable) else [None]
    if not all(isinstance(kind, str) for kind in listed):
        raise InputError(f"`packs={packs}`: must be a text, as jpeg,raw, or a list of texts")
    kinds = {kind.strip() for kind in listed} - {""}
    if "none" in kinds and len(kinds) > 1:
        raise InputError(f"`packs={','.join(sorted(kinds))}`: none stands alone; leave it out, or the others")
    return tuple(sorted(kinds - {"none"}))


def _digest(path: str | Path) -> str:
    """What a file holds; what is no file here is a name in the source, or `folders`."""
    with contextlib.suppress(OSError):
        if Path(path).is_file():  # reading a pipe may never end
            return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
    return str(path)
