"""What a contestant is, and the work that all of them do."""

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BENCH_INSTALL = "pip install -e '.[bench]'"


@dataclass(frozen=True)
class Work:
    """The work that every contestant does.

    Attributes:
        title: for tables and plots.
        size: side of the output in pixels.
        kind: `train` (zero-pad 4, random crop, flip, normalise, float32), `pixels` (decoded uint8 HWC only), or
            `photos` (random resized crop, flip, normalise, float32).
    """

    title: str
    size: int
    kind: str


WORKS = {
    "train": Work("random order, zero-pad 4 + random 64 crop, flip, normalise, float32 NCHW", 64, "train"),
    "pixels": Work("random order, decoded uint8 HWC on the host: what a GPU is fed", 64, "pixels"),
    "photos": Work("random order, random resized crop to 224, flip, normalise, float32 NCHW", 224, "photos"),
}


@dataclass(frozen=True)
class Job:
    """The settings of a contestant.

    Attributes:
        data: the dataset folder; its `train/` is an ImageFolder.
        files: folder with the converted files of other loaders (see `bench.peers.files`).
        work: a key of `WORKS`.
        batch_size: images in a batch.
        threads: threads or worker processes.
    """

    data: Path
    files: Path
    work: str
    batch_size: int
    threads: int

    @property
    def kind(self) -> str:
        return WORKS[self.work].kind

    @property
    def size(self) -> int:
        return WORKS[self.work].size


Batches = Iterator[Any]
Make = Callable[[Job], Batches]


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: e.g. `FFCV raw`.
        make: starts it.
        works: keys of `WORKS` that it can do.
        needs: a module that must be installed.
        install: the command that installs it.
        ours: one of this project's loaders.
        floor: not a loader but a lower bound on the time: only a part of the work.
    """

    name: str
    make: Make
    works: tuple[str, ...]
    needs: str = "torch"
    install: str = ""
    ours: bool = False
    floor: bool = False

    def missing(self) -> bool:
        try:
            return importlib.util.find_spec(self.needs) is None
        except ModuleNotFoundError:  # the package that `needs` is a part of
            return True


def forever(once: Callable[[], Any]) -> Batches:
    """The batches of one epoch after another."""
    while True:
        yield from once()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
