"""`from_dataset`: a dataset that is read in Python becomes a dataset folder."""

import contextlib
import logging
import multiprocessing
import pickle
import shutil
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from feedline.convert import gate, pool, space, splits
from feedline.convert.atomic_folder import atomic_folder, remove_leftovers, resolve
from feedline.convert.builder import About, check_replaceable, find_complete, write
from feedline.convert.collect import Converted, collect, progress_bar
from feedline.convert.images import JobResult
from feedline.convert.indexed.chunks import (
    BY_TARGET,
    MAX_ROWS,
    MAX_ROWS_OF_WORKER,
    ConvertedChunk,
    Setup,
    convert_chunk,
    read_chunks,
    unread_chunks,
)
from feedline.convert.indexed.groups import digest as digest_of_groups
from feedline.convert.indexed.groups import read_groups
from feedline.convert.indexed.labels import Labels, declared_names
from feedline.convert.indexed.parts import Part, bytes_needed, digest, open_parts
from feedline.convert.layouts import Item
from feedline.convert.options import Options, pack_kinds
from feedline.convert.perceptual import min_pixels
from feedline.pipeline.cores import available_cores
from feedline.pipeline.dataset import PACK_KINDS, ClassInfo, Dataset, PartName
from feedline.pipeline.errors import InputError, first_line

logger = logging.getLogger(__name__)


def from_dataset(
    dataset: Any,
    out: str | Path,
    *,
    image: Any = None,
    label: Any = None,
    classes: Sequence[str] | Mapping[Any, str] | None = None,
    packs: str | Iterable[str] = PACK_KINDS,
    val_fraction: float = 0.3,
    seed: int = 0,
    workers: int | None = None,
    read_in_workers: bool = False,
    max_size: int | None = None,
    group: Any = None,
    near_duplicates: str = "auto",
    strict: bool = False,
    force: bool = False,
    progress: bool = True,
) -> Dataset:
    """Converts a map-style dataset to a dataset folder, as `convert/build.py` does with files.

    ::

        from_dataset(torchvision.datasets.CIFAR10("data"), "data/cifar10")
        from_dataset({"train": train_set, "val": val_set}, "data/mine")
        from_dataset(datasets.load_dataset("beans", split="train"), "data/beans", label="labels")

    Images keep the order of the dataset, train before val; the file of item 123 is `<class>/000000123.png`. An item
    that raises an error, or does not decode, is left out and listed in doctor.json, by its index. Each item is
    converted as it is: leave random transforms and Normalize out of the dataset.

    An image is a PIL image, a uint8 array [H, W], [H, W, 1] or [H, W, 3], a tensor [H, W], [1, H, W] or [3, H, W], or
    the bytes of an image file. Floats from 0 to 1 are taken if they are whole levels of 255, as ToTensor gives: then
    they convert exactly. Files are kept byte for byte; those that not every engine reads to the same pixels become PNG.
    Pixels are saved as PNG, because JPEG would change them; at the fastest level that compresses, because every image
    is compressed here and decoded by whoever reads it. The split and the fingerprint depend on pixels, not on how
    Pillow compresses them.

    A target is a class: an int, a str, or a scalar of numpy or torch. Class names are those of `classes`, else those
    that the dataset declares (`dataset.classes`, or the names of a Hugging Face ClassLabel), else the targets' texts.
    Ints without names must be 0, 1, 2, ...; texts without names are sorted. A class may be empty.

    Args:
        dataset: has a length, and gives (image, target) or a dict for an index. Or a dict of such datasets, train
            and val: then there is a split `official` too; `test` is a part that training never sees.
        out: the dataset folder. If it holds this dataset already, nothing is done.
        image, label: columns of the image and the target, where items are dicts (or longer than a pair: positions).
        classes: class names in label order, or {target: name} in label order.
        packs: packs to write: `jpeg` (the files), `raw` (pixels), both, or `none`; a list, or text with commas.
        val_fraction: share of val in the stratified split, in [0, 1); 0 for the dataset's own split alone.
        seed: of the stratified split.
        workers: processes that decode and compress; one per core that this process may use if None.
        read_in_workers: also read the items in the worker processes; else in this one. The dataset must be safe to
            fork, or picklable. (Where Python does not fork, call this below `if __name__ == "__main__":`.)
        max_size: limit of the shorter side, in pixels; larger images are resized and saved as JPEG of quality 90.
        group: a value for each item (a patient, a video, a scene), or a dict of such if `dataset` is one; items with
            the same value stay on one side of the stratified split.
        near_duplicates: `on` and `off` find images that look alike, for doctor.json, or do not; `auto` where that costs
            less than the decoding and the package ImageHash is installed.
        strict: stop at an item that cannot be used.
        force: build again what is at `out`.
        progress: show a progress bar on a terminal.

    Returns:
        The dataset, open.

    Raises:
        InputError: if an argument, the dataset or an item cannot be used.
        WorkerKilledError: if a worker process was killed.
        OSError: if the folder cannot be written.
            In each case nothing is left behind, and what was at `out` stays.
    """
    options = Options(
        source=type_name(dataset),
        out=Path(out),
        packs=pack_kinds(packs),
        val_fraction=val_fraction,
        seed=seed,
        workers=available_cores() if workers is None else workers,
        strict=strict,
        max_size=max_size,
        near_duplicates=near_duplicates,
    )
    remove_leftovers(options.out)
    check_replaceable(options.out)
    parts = open_parts(dataset, image, label)
    if not val_fraction:
        splits.check(list(parts), [0] * len(parts), val_fraction)
    labels = Labels({part: _declared(opened) for part, opened in parts.items()}, classes)
    groups = None if group is None else read_groups(group, parts)
    identity = _identity(options, parts, labels, groups)
    if not force and (complete := find_complete(options.out, identity)):
        if near_duplicates == "on":
            gate.require_near(options.out)
        if strict:
            gate.require_all(options.out)
        return complete
    with atomic_folder(options.out) as target:
        space.require_space(bytes_needed(parts, options.packs, max_size), resolve(options.out))
        results = _run(options, parts, labels, target, read_in_workers=read_in_workers, progress=progress)
        with contextlib.closing(results):
            converted = collect(options, results, target)
        _check_parts(converted, parts)
        if groups is not None:
            converted.groups = [groups[name] for name in converted.names]
        _warn_of_left_out(converted)
        infos = _move_to_classes(converted, labels, target)
        origin = {"dataset": identity["source"], "parts": identity["parts"]}
        write(options, About(options.out.resolve().name, origin, identity, infos), converted, target)
    return Dataset(options.out)


def type_name(dataset: Any) -> str:
    """The type of a dataset, of train if it is a dict of parts: `torchvision.datasets.cifar.CIFAR10`."""
    kind = type(dataset.get("train") if isinstance(dataset, Mapping) else dataset)
    return f"{kind.__module__}.{kind.__qualname__}"


def _declared(part: Part) -> list[str] | None:
    columns = part.reader.columns
    return declared_names(part.reader.dataset, None if columns is None else columns[1])


def _identity(
    options: Options, parts: Mapping[PartName, Part], labels: Labels, groups: Mapping[str, str] | None
) -> dict[str, Any]:
    """What the dataset depends on. The whole content is not read for this: a sample stands for it."""
    return {
        **options.identity(),
        "group": None if groups is None else digest_of_groups(groups),
        "source": options.source,
        "parts": {part: opened.count for part, opened in parts.items()},
        "classes": labels.digest(),
        "content": digest(parts),
    }


def _run(
    options: Options,
    parts: Mapping[PartName, Part],
    labels: Labels,
    target: Path,
    *,
    read_in_workers: bool,
    progress: bool,
) -> Generator[tuple[Sequence[Item], JobResult], None, None]:
    """Yields items and what is known of them, chunk by chunk, with a progress bar on a terminal."""
    readers = {part: opened.reader for part, opened in parts.items()}
    total = sum(opened.count for opened in parts.values())
    workers = min(options.workers, -(-total // (MAX_ROWS_OF_WORKER if read_in_workers else MAX_ROWS)))
    read_in_workers = read_in_workers and workers > 1
    if read_in_workers:
        _check_picklable(readers)
    setup = Setup(target, options.packs, options.max_size, min_pixels(options.near_duplicates))
    chunks = unread_chunks(readers, setup) if read_in_workers else read_chunks(readers, setup)
    running = pool.run_in_order(convert_chunk, chunks, workers, readers if read_in_workers else None)
    with contextlib.closing(running) as results, progress_bar(total, show=progress) as bar:
        for done in results:
            yield _numbered(done, labels), done.result
            bar.update(len(done.items))


def _numbered(done: ConvertedChunk, labels: Labels) -> list[Item]:
    """The items with their labels, provisional ones if there are no class names."""
    return [
        item if target is None else replace(item, label=labels.number(item.part, target, item.name))
        for item, target in zip(done.items, done.targets, strict=True)
    ]


def _check_parts(converted: Converted, parts: Mapping[PartName, Part]) -> None:
    for part, opened in parts.items():
        if part not in converted.parts:
            name, reason = next(pair for pair in converted.left_out if pair[0].startswith(f"{opened.reader.name}["))
            raise InputError(f"`dataset`: none of the {opened.count} items of {part} can be used; {name} {reason}")


def _warn_of_left_out(converted: Converted) -> None:
    """Says which items the dataset folder has not: image ids then count the others."""
    if left_out := converted.left_out:
        name, reason = left_out[0]
        logger.warning(
            "%d items are left out, so image ids are not the dataset's indices: %s %s; doctor.json lists all",
            len(left_out),
            name,
            reason,
        )


def _move_to_classes(converted: Converted, labels: Labels, target: Path) -> list[ClassInfo]:
    """Moves the files to their class folders, and sets final paths and labels."""
    infos, final = labels.finish()
    folders: dict[Path, Path] = {}
    for i, record in enumerate(converted.records):
        _, part, key, file = record.path.split("/")
        label = final[record.label]
        folder = f"{part}/{infos[label].folder}"
        folders[target / BY_TARGET / part / key] = target / folder
        converted.records[i] = record._replace(path=f"{folder}/{file}", label=label)
    for before, after in folders.items():
        _move(before, after)
    shutil.rmtree(target / BY_TARGET)
    used = {record.label for record in converted.records}
    if empty := [info.words for info in infos if info.id not in used]:
        logger.warning("%d of %d classes have no image: %s", len(empty), len(infos), ", ".join(empty[:5]))
    return infos


def _move(before: Path, after: Path) -> None:
    """Moves a folder, or its files if another target of the same class was there first."""
    if after.exists():
        for path in before.iterdir():
            path.rename(after / path.name)
    else:
        after.parent.mkdir(exist_ok=True)
        before.rename(after)


def _check_picklable(readers: Any) -> None:
    """Checks that the dataset reaches the workers, which inherit it only if they are forked."""
    if multiprocessing.get_start_method() == "fork":
        return
    try:
        pickle.dumps(readers)
    except Exception as error:  # pickle raises whatever the dataset's objects raise
        raise InputError(
            f"`read_in_workers=True`: the dataset cannot be pickled ({first_line(error)}); leave it out, and items are "
            "read in this process"
        ) from error
