"""Converts the dataset for other loaders, and measures how long each converter takes."""

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.peers.contestants import FILES
from bench.peers.contestants.ffcv_loader import write_ffcv
from bench.peers.job import Samples, installed
from feedline import Dataset


def samples(dataset: Dataset, parts: tuple[str, ...] = ("train",)) -> Samples:
    """Paths and labels of the images in these parts of a dataset folder, in id order."""
    wanted = tuple(f"{part}/" for part in parts)
    paths = ((dataset.path(i), int(dataset.labels[i])) for i in range(dataset.count))
    return [(dataset.root / path, label) for path, label in paths if path.startswith(wanted)]


def prepare(dataset: Dataset, folder: Path, threads: int, max_size: int | None) -> None:
    """Writes the files of other loaders that are installed, unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    train = samples(dataset)
    for files in FILES:
        target, partial = folder / files.name, folder / f"{files.name}.partial"
        if not installed(files.needs) or target.exists():
            continue
        print(f"writing {target}", file=sys.stderr)
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
        files.write(train, partial, threads, max_size)
        partial.rename(target)


def warm(folders: Sequence[Path]) -> None:
    """Reads every file once, so that it is in the page cache."""
    for folder in folders:
        for path in filter(Path.is_file, folder.rglob("*")):
            with path.open("rb", buffering=0) as file:
                while file.read(1 << 22):
                    pass


def conversion(source: Path, dataset: Dataset, folder: Path, threads: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per round of our converter (both packs, every image checked) and of FFCV's two writers, interleaved.

    All read the same images: our converter from `source`, FFCV's writers from the copies in the dataset folder.
    """
    images = samples(dataset, ("train", "val"))
    ours = folder / "conversion"
    command = [
        sys.executable,
        "convert/build.py",
        "--source",
        str(source),
        "--out",
        str(ours),
        "--workers",
        str(threads),
    ]
    seconds: dict[str, list[float]] = {"ours, both packs": []}
    for _ in range(rounds):
        shutil.rmtree(ours, ignore_errors=True)
        warm([source, dataset.root / "train", dataset.root / "val"])
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds["ours, both packs"].append(time.perf_counter() - started)
        shutil.rmtree(ours)
        if not installed("ffcv"):
            continue
        for mode in ("jpg", "raw"):
            target = folder / f"conversion-{mode}.beton"
            started = time.perf_counter()
            write_ffcv(mode, images, target, threads)
            seconds.setdefault(f"FFCV {mode}", []).append(time.perf_counter() - started)
            target.unlink()
    return seconds
