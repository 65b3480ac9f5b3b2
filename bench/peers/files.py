"""Converts the dataset for other loaders, and measures how long each converter takes."""

import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from feedline import Dataset

Samples = list[tuple[Path, int]]


def samples(dataset: Dataset, parts: tuple[str, ...] = ("train",)) -> Samples:
    """Paths and labels of the images in these parts of a dataset folder, in id order."""
    wanted = tuple(f"{part}/" for part in parts)
    paths = ((dataset.path(i), int(dataset.labels[i])) for i in range(dataset.count))
    return [(dataset.root / path, label) for path, label in paths if path.startswith(wanted)]


class _Decoded:
    """The input of FFCV's writer: an indexable sequence of (RGB PIL image, label)."""

    def __init__(self, images: Samples) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        path, label = self.images[index]
        with Image.open(path) as image:
            return image.convert("RGB"), label


def write_ffcv(images: Samples, target: Path, mode: str, threads: int, max_size: int | None = None) -> None:
    """Writes an FFCV file as FFCV's documentation shows; `max_size` limits the longer side."""
    from ffcv.fields import IntField, RGBImageField
    from ffcv.writer import DatasetWriter

    options = {} if max_size is None else {"max_resolution": max_size}
    fields = {"image": RGBImageField(write_mode=mode, **options), "label": IntField()}
    DatasetWriter(str(target), fields, num_workers=threads).from_indexed_dataset(_Decoded(images))


def write_webdataset(images: Samples, target: Path) -> None:
    """Writes shards of 10,000 images in random order."""
    import random

    import webdataset as wds

    target.mkdir()
    shuffled = random.Random(0).sample(images, len(images))
    with wds.ShardWriter(str(target / "%05d.tar"), maxcount=10_000, verbose=0) as sink:
        for number, (path, label) in enumerate(shuffled):
            sink.write({"__key__": f"{number:08d}", "jpg": path.read_bytes(), "cls": label})


def prepare(dataset: Dataset, folder: Path, threads: int, max_size: int | None) -> None:
    """Writes the files of other loaders that are installed, unless they exist."""
    folder.mkdir(parents=True, exist_ok=True)
    train = samples(dataset)
    todo: list[tuple[str, str, Callable[[Path], None]]] = [
        ("webdataset", "webdataset", lambda target: write_webdataset(train, target)),
        ("ffcv", "ffcv-jpg.beton", lambda target: write_ffcv(train, target, "jpg", threads, max_size)),
        ("ffcv", "ffcv-raw.beton", lambda target: write_ffcv(train, target, "raw", threads, max_size)),
    ]
    for module, name, write in todo:
        target, partial = folder / name, folder / f"{name}.partial"
        if importlib.util.find_spec(module) is None or target.exists():
            continue
        print(f"writing {target}", file=sys.stderr)
        shutil.rmtree(partial, ignore_errors=True)
        partial.unlink(missing_ok=True)
        write(partial)
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
        if importlib.util.find_spec("ffcv") is None:
            continue
        for mode in ("jpg", "raw"):
            target = folder / f"conversion-{mode}.beton"
            started = time.perf_counter()
            write_ffcv(images, target, mode, threads)
            seconds.setdefault(f"FFCV {mode}", []).append(time.perf_counter() - started)
            target.unlink()
    return seconds
