"""Converts a source to a dataset folder."""

import contextlib
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from feedline.convert import doctor, images, pool, space, splits
from feedline.convert.atomic_folder import atomic_folder
from feedline.convert.fingerprint import fingerprint
from feedline.convert.layouts import Item, Listing
from feedline.convert.mean_std import VALUES, mean_std
from feedline.convert.options import Options
from feedline.convert.sources import open_source
from feedline.pipeline.dataset import PARTS, Dataset, PackWriter, Record, Split, write_index, write_meta
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import write_json

IMAGES_PER_JOB = 256


def build(options: Options) -> Dataset:
    """Converts a source and opens the result, which replaces a dataset that is at `options.out` already.

    Raises:
        InputError: if the source cannot be used.
        WorkerKilledError: if a worker process was killed.
        OSError: if the folder cannot be written.
            In each case nothing is left behind, and what was at `options.out` stays.
    """
    downloads = options.out.parent / "downloads"
    with open_source(options.source, downloads) as listing, atomic_folder(options.out) as target:
        space.check_space(listing, options.out, options.packs, options.max_size)
        _write(options, listing, target)
    return Dataset(options.out)


def find_complete(options: Options) -> Dataset | None:
    """The dataset at `options.out`, or None if there is nothing.

    Raises:
        InputError: if it was built with other options, or cannot be read.
    """
    if not options.out.exists():
        return None
    dataset = Dataset(options.out)
    before, now = dataset.meta.get("build", {}), options.identity()
    if different := [key for key in now if before.get(key) != now[key]]:
        key = different[0]
        raise InputError(
            f"{options.out}: was built with {key} {before.get(key)}, now {now[key]} is asked for; "
            "add `force` to build it again, or choose another `out`"
        )
    return dataset


def check_replaceable(out: Path) -> None:
    """Checks that only a dataset would be replaced.

    Raises:
        InputError: if there is anything else at `out`.
    """
    if out.exists() and not (out / "dataset.json").exists():
        raise InputError(f"{out}: already exists and is not a dataset; choose another `out`")


@dataclass
class _Converted:
    """What is known of the images after reading them: one entry per image and list, in id order."""

    records: list[Record] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    gray: list[bool] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(VALUES, dtype=np.int64))
    packs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, item: Item, image: images.ImageResult) -> None:
        self.records.append(Record(item.path, item.label, image.height, image.width, image.plain))
        self.digests.append(image.digest)
        self.gray.append(image.gray)
        self.parts.append(item.part)


def _write(options: Options, listing: Listing, target: Path) -> None:
    """Writes a whole dataset folder into `target`."""
    converted = _convert_images(options, listing, target)
    all_splits = _split(options, converted)
    write_index(target, converted.records, all_splits)
    report = doctor.examine(converted.records, converted.digests, converted.gray, converted.left_out, all_splits)
    write_json(target / "doctor.json", report)
    mean, std = mean_std(converted.histogram)
    sizes = {(record.height, record.width) for record in converted.records}
    write_meta(
        target,
        name=listing.name,
        fingerprint=fingerprint(converted.records, converted.digests, all_splits, options.max_size),
        image_size=list(sizes.pop()) if len(sizes) == 1 else None,
        count=len(converted.records),
        mean=mean,
        std=std,
        source=listing.origin,
        build=options.identity(),
        splits={split.name: {part: len(getattr(split, part)) for part in PARTS} for split in all_splits},
        packs=converted.packs,
        findings=doctor.count(report),
        classes=listing.classes,
    )


def _split(options: Options, converted: _Converted) -> list[Split]:
    labels = [record.label for record in converted.records]
    stratified = splits.stratified(labels, converted.digests, val_fraction=options.val_fraction, seed=options.seed)
    official = splits.official(converted.parts)
    return [official, stratified] if official else [stratified]


def _convert_images(options: Options, listing: Listing, target: Path) -> _Converted:
    """Reads every image once; writes the image files and the packs."""
    if options.strict and listing.left_out:
        raise InputError("{}: {} (`strict`)".format(*listing.left_out[0]))
    for folder in {(target / item.path).parent for item in listing.items}:
        folder.mkdir(parents=True, exist_ok=True)
    converted = _Converted(left_out=list(listing.left_out))
    writers = {kind: PackWriter(target / "packs" / kind) for kind in options.packs}
    with contextlib.closing(_run_jobs(options, listing, target)) as results:
        for items, result in results:
            converted.histogram += result.histogram
            for item, image in zip(items, result.images, strict=True):
                if image.error:
                    _leave_out(item.name, image.error, converted.left_out, options.strict)
                    continue
                converted.add(item, image)
                for kind, writer in writers.items():
                    writer.add(image.encoded if kind == "jpeg" else image.pixels, *image.pack_size)
    for kind, writer in writers.items():
        converted.packs[kind] = writer.close()
    if not converted.records:
        raise InputError(f"`source={options.source}`: none of its {len(listing.items)} images decodes")
    return converted


def _run_jobs(
    options: Options, listing: Listing, target: Path
) -> Generator[tuple[Sequence[Item], images.JobResult], None, None]:
    """Yields images and what is known of them, job by job in id order, with a progress bar on a terminal."""
    starts = range(0, len(listing.items), IMAGES_PER_JOB)
    chunks = [listing.items[start : start + IMAGES_PER_JOB] for start in starts]
    jobs = [images.Job(listing.tree, chunk, target, options.packs, options.max_size) for chunk in chunks]
    bar = tqdm(total=len(listing.items), unit=" images", desc="converting", disable=not sys.stderr.isatty())
    with contextlib.closing(pool.run_in_order(images.convert_images, jobs, options.workers)) as results, bar:
        for job, result in zip(jobs, results, strict=True):
            yield job.items, result
            bar.update(len(job.items))


def _leave_out(name: str, error: str, left_out: list[tuple[str, str]], strict: bool) -> None:
    if strict:
        raise InputError(f"{name}: does not decode ({error}); remove it, or convert without `strict` to leave it out")
    left_out.append((name, f"does not decode: {error}"))
