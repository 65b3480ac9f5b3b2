"""What a contestant is, and the work that all of them do."""

import importlib.util
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
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
        crop: what happens to the image, for the table of conditions.
    """

    title: str
    size: int
    kind: str
    crop: str


WORKS = {
    "train": Work(
        "random order, zero-pad 4 + random 64 crop, flip, normalise, float32 NCHW",
        64,
        "train",
        "zero-pad 4, random 64x64, flip, normalise",
    ),
    "pixels": Work("random order, decoded uint8 HWC on the host: what a GPU is fed", 64, "pixels", "none"),
    "photos": Work(
        "random order, random resized crop to 224, flip, normalise, float32 NCHW",
        224,
        "photos",
        "random resized crop to 224x224, flip, normalise",
    ),
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
        side: of the output in pixels; None for that of the work.
    """

    data: Path
    files: Path
    work: str
    batch_size: int
    threads: int
    side: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Job":
        """From JSON, as one process passes it to another."""
        values = json.loads(text)
        return cls(**{**values, "data": Path(values["data"]), "files": Path(values["files"])})

    def text(self) -> str:
        return json.dumps({**asdict(self), "data": str(self.data), "files": str(self.files)})

    @property
    def kind(self) -> str:
        return WORKS[self.work].kind

    @property
    def size(self) -> int:
        return self.side or WORKS[self.work].size


Batches = Iterator[Any]
Make = Callable[[Job], Batches]


@dataclass(frozen=True)
class Contestant:
    """One row of the table.

    Attributes:
        name: e.g. `FFCV raw`. A loader as it comes, when only the work itself is asked for, is called `..., defaults`.
        make: starts it.
        works: keys of `WORKS` that it can do.
        reads: how the images are stored.
        decoder: what decodes them.
        runs_in: the processes or threads that do the work; `{threads}` is the number of the job.
        needs: a module that must be installed.
        install: the command that installs it.
        replaces: draws images with replacement: an epoch has some twice and others never.
        ours: one of this project's loaders.
        floor: not a loader but a lower bound on the time: only a part of the work.
    """

    name: str
    make: Make
    works: tuple[str, ...]
    reads: str
    decoder: str
    runs_in: str
    needs: str = "torch"
    install: str = ""
    replaces: bool = False
    ours: bool = False
    floor: bool = False

    def missing(self) -> bool:
        return not installed(self.needs)


def installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that the module is a part of
        return False


Samples = list[tuple[Path, int]]


@dataclass(frozen=True)
class Files:
    """Files that a contestant reads instead of the dataset folder's.

    Attributes:
        name: of the file or folder.
        needs: a module that must be installed to write it.
        write: writes it, from the paths and labels of the train images, with so many worker processes, and a limit of
            the longer side in pixels (or None).
    """

    name: str
    needs: str
    write: Callable[[Samples, Path, int, int | None], None]


def forever(loader: Iterable[Any]) -> Batches:
    """The batches of one epoch after another. Imports nothing: the memory of a contestant's process is measured."""
    while True:
        yield from loader
