"""Decides how a tree is read: Tiny ImageNet's layout, tables, or class folders."""

import re
from pathlib import Path

from feedline.convert.given import read_given
from feedline.convert.layouts import Labels, Wanted, image_folder, labelled, refusals, tiny_imagenet
from feedline.convert.layouts.candidates import candidates, no_table
from feedline.convert.layouts.columns import LABEL_NAMES, ambiguous_label, names_no_image
from feedline.convert.layouts.finder import Finder
from feedline.convert.layouts.reading import METADATA_IMAGE, Reading, inspect
from feedline.convert.layouts.survey import Survey
from feedline.convert.layouts.tables import SUFFIXES, read_table
from feedline.convert.layouts.taken import suffix_of
from feedline.pipeline.errors import InputError

FOLDERS = "folders"  # the value of `labels` that asks for class folders
_METADATA = {"metadata.csv", "metadata.jsonl"}


def read_labels(found: Survey, wanted: Wanted) -> Labels:
    """Reads classes and images of a tree, as the user wants it or as its files say.

    Raises:
        InputError: if they can be read in no way, or in several.
    """
    if not found.all_images:
        raise refusals.no_images(found)
    _check_columns(found, wanted)
    if wanted.labels == FOLDERS:
        return _folders(found)
    if wanted.labels:
        return labelled.read(found, [_asked_for(found, wanted.labels, wanted)])
    if tiny_imagenet.matches(found):
        return tiny_imagenet.read(found)
    metadata, problems = _metadata(found, wanted)
    if problems:
        return _without_tables(found, metadata, problems[0], wanted)
    if metadata:
        return _read_metadata(found, metadata, wanted)
    return _guess(found, wanted)


def _asked_for(found: Survey, path: str, wanted: Wanted) -> Reading:
    finder = Finder(found.all_images)
    inside = next(
        (name for name in (path, found.top + path, _inside(found, path)) if name in found.tree.contents.files), None
    )
    if inside is not None:
        folder = inside[: inside.rfind("/") + 1]
        table = read_table(inside, folder, found.tree.read(inside))
    else:
        known = [FOLDERS, *(name.removeprefix(found.top) for name in found.others if suffix_of(name) in SUFFIXES)]
        data = read_given("labels", path, "give a CSV, TSV or JSON lines file", known)
        table = read_table(Path(path).name, "", data)
    reading = inspect(table, finder, wanted)
    if reading is None:
        raise names_no_image(table, found.source, found.all_images)
    if reading.label is None:
        raise ambiguous_label(reading.table, reading.taken)
    return reading


def _inside(found: Survey, path: str) -> str:
    """The name of a file in a tree that is a folder, by its path; empty if it lies elsewhere."""
    root = getattr(found.tree, "root", None)
    try:
        return Path(path).resolve().relative_to(Path(root).resolve()).as_posix() if root else ""
    except ValueError:
        return ""


def _metadata(found: Survey, wanted: Wanted) -> tuple[list[Reading], list[InputError]]:
    """Tables as Hugging Face names them, in any folder, and what is wrong with those that cannot be used."""
    finder = Finder(found.all_images)
    readings: list[Reading] = []
    problems: list[InputError] = []
    for name in found.others:
        folder, _, file = name.rpartition("/")
        if file.lower() not in _METADATA:
            continue
        try:
            table = read_table(name, f"{folder}/" if folder else "", found.tree.read(name))
            image = METADATA_IMAGE if METADATA_IMAGE in table.columns else None
            if reading := inspect(table, finder, wanted, image=image):
                readings.append(reading)
        except InputError as error:
            problems.append(error)
    return readings, problems


def _read_metadata(found: Survey, readings: list[Reading], wanted: Wanted) -> Labels:
    """Labels from metadata, or from class folders where it has no column `label`; that of test may lack it."""
    complete = [reading for reading in readings if reading.label] or readings
    named = all(map(_is_named, complete))
    if not (named or wanted.label_column) and (folders := _class_folders(found, readings)):
        return labelled.attach(found, folders, [_without_label(reading) for reading in readings])
    return labelled.read(found, complete)


def _without_tables(found: Survey, readings: list[Reading], problem: InputError, wanted: Wanted) -> Labels:
    """Labels from class folders that need none of the metadata, of which a table cannot be used.

    Raises:
        InputError: if they do need it.
    """
    needed = wanted.image_column or wanted.label_column or any(map(_is_named, readings))
    folders = None if needed else _class_folders(found)
    if folders is None or _say_nothing(folders):
        raise problem
    folders.notes.append(f"labels: the class folders; not used: {problem.message.partition(';')[0]}")
    return folders


def _is_named(reading: Reading) -> bool:
    """Whether a column of labels is called so."""
    return reading.label is not None and reading.label.names[0].lower() in ("label", "labels")


def _without_label(reading: Reading) -> Reading:
    others = [column for column in reading.table.columns if column not in reading.taken]
    return Reading(reading.table, reading.image, None, reading.part, others)


def _folders(found: Survey) -> Labels:
    return tiny_imagenet.with_words(found, image_folder.read(found))


def _class_folders(found: Survey, readings: list[Reading] | None = None) -> Labels | None:
    """Labels from class folders; None if there are none, or if they are ambiguous and a table gives labels."""
    try:
        return _folders(found)
    except refusals.AmbiguousFoldersError:
        if readings and not any(reading.label for reading in readings):
            raise
        return None
    except InputError:
        return None


def _guess(found: Survey, wanted: Wanted) -> Labels:
    """Class folders, unless there are none, or their names say nothing, and a table names the images."""
    columns = wanted.image_column or wanted.label_column
    readings, problems = candidates(found, wanted)
    if not readings and columns:
        raise next(iter(problems), no_table(found, wanted))
    if not readings:
        try:
            return _folders(found)
        except refusals.NoClassesError as error:
            raise next(iter(problems), error) from error
    folders = _class_folders(found, readings)
    names = ", ".join(reading.table.name for reading in readings)
    if folders and not columns and not _say_nothing(folders) and not _is_labelled_otherwise(found, folders, readings):
        folders.notes.append(f"labels: the class folders; {names} names images too, and is read with --labels")
        return folders
    complete = [reading for reading in readings if reading.label]
    if not complete:
        either = ", or take the class folders with `labels=folders`" if folders else ""
        raise InputError(ambiguous_label(readings[0].table, readings[0].taken).message + either)
    alike = [r for r in complete if (r.image, r.label) == (complete[0].image, complete[0].label)]
    if len(alike) < len(complete) or (len(complete) > 1 and not all(r.table.part for r in complete)):
        raise InputError(f"`source={found.source}`: several tables could hold labels: {names}; choose with `labels`")
    return labelled.read(found, complete)


def _check_columns(found: Survey, wanted: Wanted) -> None:
    """Refuses columns where no table is read."""
    if wanted.labels == FOLDERS or (not wanted.labels and tiny_imagenet.matches(found)):
        for argument, column in (("image_column", wanted.image_column), ("label_column", wanted.label_column)):
            if column:
                raise InputError(
                    f"`{argument}={column}`: no table is read here; leave it out, or give one with `labels`"
                )


def _say_nothing(folders: Labels) -> bool:
    """Whether class folders differ in numbers only (`part_1`, `part_2`), or are named for what files are (`images`)."""
    names = {re.sub(r"\d+", "", info.folder.lower()) for info in folders.classes}
    only_numbers = len(names) == 1 and names != {""}
    return only_numbers or not names.isdisjoint(refusals.IMAGE_FOLDERS)


def _is_labelled_otherwise(found: Survey, folders: Labels, readings: list[Reading]) -> bool:
    """Whether a column called `label` or so says something else than class folders without parts."""
    named = [reading for reading in readings if reading.label and reading.label.names[0].lower() in LABEL_NAMES]
    if not named or any(item.part != "train" for item in folders.items):
        return False
    finder = Finder(found.all_images)
    folder_of = {item.name: item.label for item in folders.items}
    pairs = set()
    for reading in named:
        for field, label in zip(reading.table.column(reading.image), reading.labels, strict=True):
            if len(names := finder.find(field, reading.table.folder)) == 1 and names[0] in folder_of:
                pairs.add((folder_of[names[0]], label))
    return not len(pairs) == len({folder for folder, _ in pairs}) == len({label for _, label in pairs})
