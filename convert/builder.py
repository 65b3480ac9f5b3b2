"""Converts a source to a dataset folder."""

import contextlib
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedline.convert import doctor, groups, images, pool, space, splits
from feedline.convert.atomic_folder import atomic_folder, resolve
from feedline.convert.collect import Converted, collect, progress_bar
from feedline.convert.fingerprint import fingerprint
from feedline.convert.flush import start_flush
from feedline.convert.identity import identify
from feedline.convert.layouts import Item, Listing
from feedline.convert.mean_std import mean_std
from feedline.convert.no_val import Named
from feedline.convert.options import Options
from feedline.convert.perceptual import min_pixels
from feedline.convert.sources import open_source
from feedline.convert.stored import spare_stems
from feedline.output import counted
from feedline.pipeline.dataset import ClassInfo, Dataset, write_checksums, write_columns, write_index, write_meta
from feedline.pipeline.errors import InputError
from feedline.pipeline.files import write_json

IMAGES_PER_JOB = 256
MOST_TEXT = 1 << 30  # bytes of a column of texts: each row has room for the longest
NUMBER = 40  # characters that a number may have


def build(options: Options, tell: Callable[[str], None] = lambda _: None) -> Dataset:
    """Converts a source and opens the result, which replaces a dataset that is at `options.out` already.

    Args:
        options: what to build.
        tell: is called with each line on how the source was read, before its images are.

    Raises:
        InputError: if the source cannot be used.
        WorkerKilledError: if a worker process was killed.
        OSError: if the folder cannot be written.
            In each case nothing is left behind, and what was at `options.out` stays.
    """
    out = Path(os.path.abspath(options.out))  # noqa: PTH100 - "." has no parent; links stay links
    downloads = out.parent / "downloads"
    with atomic_folder(out) as target, open_source(options.source, downloads, out, options.wanted) as listing:
        source = identify(options.source, listing.tree)
        wide = _too_wide(listing.items)
        for note in [*listing.notes, *wide.values()]:
            tell(note)
        _check_split(options, listing)
        space.check_space(listing, resolve(out), options.packs, options.max_size)
        converted = _convert_images(options, listing, target)
        if options.group is not None:
            converted.groups = groups.find_groups(options.group, converted.names, converted.columns)
        converted.columns = {name: texts for name, texts in converted.columns.items() if name not in wide}
        identity = {"source": source.name, "from": source.about, **options.identity()}
        source.write(target)
        write(options, About(listing.name, listing.origin, identity, listing.classes), converted, target)
    return Dataset(out)


def find_complete(out: Path, identity: dict[str, Any]) -> Dataset | None:
    """The dataset at `out`, or None if there is nothing.

    Args:
        out: the dataset folder.
        identity: what the dataset depends on, as dataset.json keeps it.

    Raises:
        InputError: if it was built from something else or with other options, or cannot be read.
    """
    if not out.exists() or not any(out.iterdir()):
        return None
    dataset = Dataset(out)
    before, now = dataset.meta.get("build", {}), identity
    if different := [key for key in now if before.get(key) != now[key]]:
        key = different[0]
        raise InputError(
            f"{out}: was built with {key} {before.get(key)}, now {now[key]} is asked for; "
            "add `force` to build it again, or choose another `out`"
        )
    return dataset


def check_replaceable(out: Path) -> None:
    """Checks that only a dataset would be replaced, or an empty folder.

    Raises:
        InputError: if there is anything else at `out`.
    """
    empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not empty and not (out / "dataset.json").exists():
        raise InputError(f"{out}: already exists and is not a dataset; choose another `out`")


@dataclass(frozen=True)
class About:
    """What dataset.json says of a dataset beside its images: name, source, what it depends on, and the classes."""

    name: str
    origin: dict[str, Any]
    identity: dict[str, Any]
    classes: list[ClassInfo]


def write(options: Options, about: About, converted: Converted, target: Path) -> None:
    """Writes everything but the images and packs, dataset.json and the checksums last.

    Raises:
        InputError: if the images cannot be split.
    """
    start_flush(target)  # images and packs, while the rest is computed
    divided = _split(options, converted, about.classes)
    write_index(target, converted.records, divided.made)
    write_columns(target, converted.columns)
    report = doctor.examine(converted, divided, about.classes, options.group)
    write_json(target / "doctor.json", report)
    mean, std = mean_std(converted.histogram)
    sizes = {(record.height, record.width) for record in converted.records}
    write_meta(
        target,
        name=about.name,
        fingerprint=fingerprint(converted.records, converted.digests, divided.made, options.max_size),
        image_size=list(sizes.pop()) if len(sizes) == 1 else None,
        count=len(converted.records),
        mean=mean,
        std=std,
        source=about.origin,
        build=about.identity,
        splits={split.name: {part: len(ids) for part, ids in split.parts.items()} for split in divided.made},
        packs=converted.packs,
        findings=doctor.count(report),
        **({"columns": list(converted.columns)} if converted.columns else {}),
        classes=about.classes,
    )
    write_checksums(target)


def _too_wide(items: Sequence[Item]) -> dict[str, str]:
    """The columns that would take too much memory and disk, each with a line that says so."""
    columns = items[0].columns if items else ()
    longest = {name: max(len(item.columns[name]) for item in items) for name in columns}
    return {
        name: f"the column {name!r} is not kept: its longest text has {length:,} characters, and room for that in each "
        f"row is {4 * length * len(items) / 2**30:,.1f} GiB"
        for name, length in longest.items()
        if length > NUMBER and 4 * length * len(items) > MOST_TEXT
    }


def _check_split(options: Options, listing: Listing) -> None:
    """Checks, before images are read, that they can be split, and that `group` names groups."""
    items, named = listing.items, None
    if options.group is not None:
        names = [item.name for item in items]
        columns = {column: [item.columns[column] for item in items] for column in (items[0].columns if items else ())}
        named = Named(names, _folders(listing.classes), groups.find_groups(options.group, names, columns))
    if items and not any(item.part == "train" for item in items):
        raise InputError(
            f"`source={options.source}`: all its images are of {' and '.join(sorted({item.part for item in items}))}, "
            "as names or a column of the source say, and none is left to train on; add train images, or call them "
            "otherwise"
        )
    splits.check([item.part for item in items], [item.label for item in items], options.val_fraction, named)


def _split(options: Options, converted: Converted, classes: Sequence[ClassInfo]) -> splits.Splits:
    return splits.divided(
        converted.parts,
        [record.label for record in converted.records],
        converted.digests,
        Named(converted.names, _folders(classes), converted.groups),
        val_fraction=options.val_fraction,
        seed=options.seed,
    )


def _folders(classes: Sequence[ClassInfo]) -> list[str]:
    return [info.folder for info in classes]


def _convert_images(options: Options, listing: Listing, target: Path) -> Converted:
    """Reads every image once; writes the image files and the packs."""
    if options.strict and listing.left_out:
        raise InputError("{}: {} (`strict`)".format(*listing.left_out[0]))
    for folder in {(target / item.path).parent for item in listing.items}:
        folder.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(_run_jobs(options, listing, target)) as results:
        converted = collect(options, results, target, listing.left_out)
    converted.ignored = listing.ignored
    if "train" not in converted.parts:
        count = sum(item.part == "train" for item in listing.items)
        name, reason = next(iter(converted.left_out), ("", ""))
        first = f"; the first that is left out: {name}: {reason}" if name else ""
        raise InputError(
            f"`source={options.source}`: none of its {counted(count, 'train image', 'train images')} decodes{first}"
        )
    return converted


def _run_jobs(
    options: Options, listing: Listing, target: Path
) -> Generator[tuple[Sequence[Item], images.JobResult], None, None]:
    """Yields images and what is known of them, job by job in id order, with a progress bar on a terminal."""
    starts = range(0, len(listing.items), IMAGES_PER_JOB)
    chunks = [listing.items[start : start + IMAGES_PER_JOB] for start in starts]
    stems = spare_stems(item.path for item in listing.items)
    shared = [{item.path: stems[item.path] for item in chunk if item.path in stems} for chunk in chunks]
    near_pixels = min_pixels(options.near_duplicates)
    jobs = [
        images.Job(listing.tree, chunk, target, options.packs, options.max_size, names, near_pixels)
        for chunk, names in zip(chunks, shared, strict=True)
    ]
    bar = progress_bar(len(listing.items))
    with contextlib.closing(pool.run_in_order(images.convert_images, jobs, options.workers)) as results, bar:
        for job, result in zip(jobs, results, strict=True):
            yield job.items, result
            bar.update(len(job.items))
