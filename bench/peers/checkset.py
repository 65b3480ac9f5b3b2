"""A small dataset on which the contestants' pixels are compared: the first images of every class, converted for all."""

import shutil
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.peers.files import prepare, samples
from bench.peers.job import Samples
from feedline import Dataset
from feedline.convert.builder import build
from feedline.convert.options import Options

IMAGES = 1024


@dataclass(frozen=True)
class CheckSet:
    """Where it is: a dataset folder, and the files of the other loaders."""

    data: Path
    files: Path


def make_check_set(dataset: Dataset, folder: Path, multiple: int, size: int, threads: int) -> CheckSet | str:
    """Makes the check set, unless it exists, or says why there can be none.

    Args:
        dataset: where the images come from.
        folder: the check set goes into a folder of it.
        multiple: the number of images is a multiple of this, so that nobody has an incomplete batch.
        size: side of the images in pixels.
        threads: worker processes.
    """
    if dataset.image_size != (size, size):
        return f"needs images of {size}x{size}"
    train = _first_of_each_class(samples(dataset))
    count = min(len(train), max(IMAGES, multiple)) // multiple * multiple
    if count == 0:
        return f"needs {multiple} images"
    target = folder / f"check-{count}"
    if not target.exists():
        print(f"writing {target}", file=sys.stderr)
        _write(train[:count], target, threads)
    prepare(Dataset(target / "data"), target / "files", threads, None)
    return CheckSet(target / "data", target / "files")


def _first_of_each_class(images: Samples) -> Samples:
    """The first image of each class, then the second of each, and so on."""
    seen: dict[int, int] = defaultdict(int)
    ranked = []
    for path, label in images:
        ranked.append((seen[label], label, path))
        seen[label] += 1
    return [(path, label) for _, label, path in sorted(ranked)]


def _write(images: Samples, target: Path, threads: int) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    seen: set[int] = set()
    for path, label in images:
        # The first of each class is a val image too: with train images alone, ours would keep some of them for val.
        for part in ("train",) if label in seen else ("train", "val"):
            copy = partial / "source" / part / path.parent.name / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        seen.add(label)
    source = str(partial / "source")
    build(Options(source, partial / "data", ("jpeg", "raw"), val_fraction=0.3, seed=0, workers=threads, strict=True))
    shutil.rmtree(source)
    partial.rename(target)
