"""Labels from tables: `metadata.csv` beside the images, or a table of names and labels as Kaggle gives it."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from feedline.convert.layouts import Item, Labels
from feedline.convert.layouts.class_names import class_infos, in_order
from feedline.convert.layouts.classes import notes_on_missing
from feedline.convert.layouts.columns import ambiguous_label
from feedline.convert.layouts.finder import Finder
from feedline.convert.layouts.parts import SPELLINGS, spelled
from feedline.convert.layouts.reading import Reading
from feedline.convert.layouts.survey import Survey
from feedline.output import counted
from feedline.pipeline.dataset import PARTS, PartName
from feedline.pipeline.errors import InputError


@dataclass(frozen=True)
class Row:
    """What a row says of an image."""

    label: str
    part: PartName
    columns: Mapping[str, str]


def read(found: Survey, readings: Sequence[Reading]) -> Labels:
    """Labels all images that the tables name.

    Args:
        found: the files.
        readings: tables with the same columns of images and labels.

    Raises:
        InputError: if a table has no column of labels, or there are fewer than two classes.
    """
    for reading in readings:
        if reading.label is None:
            raise ambiguous_label(reading.table, reading.taken)
    finder = Finder(found.all_images)
    labelled, left_out = _match(found, finder, readings)
    names, number = in_order({row.label for row in labelled.values()})
    if len(names) < 2:
        raise InputError(
            f"{readings[0].table.name}: {counted(len(labelled), 'image')} with {counted(len(names), 'label')}"
            f"{f', {names[0]!r}' if names else ''}; training needs two classes"
        )
    infos = class_infos(names)
    sizes = found.tree.contents.files
    items = [
        Item(name, "", row.part, number[row.label], sizes[name], columns=row.columns) for name, row in labelled.items()
    ]
    items = _with_paths(items, [info.folder for info in infos], found.top)
    labels = Labels(infos, items, left_out, read={reading.table.name for reading in readings})
    _add_unlabelled(found, labels, {*labelled, *(name for name, _ in left_out)}, readings)
    labels.notes.extend([*_notes(readings, items), *notes_on_missing(infos, items), *_note_on_numbers(names)])
    return labels


def attach(found: Survey, labels: Labels, readings: Sequence[Reading]) -> Labels:
    """Adds the columns of tables to images whose labels are known already."""
    finder = Finder(found.all_images)
    empty = dict.fromkeys((column for reading in readings for column in reading.others), "")
    columns = {}
    for reading in readings:
        positions = [(column, reading.table.columns.index(column)) for column in reading.others]
        for field, row in zip(reading.table.column(reading.image), reading.table.rows, strict=True):
            if len(names := finder.find(field, reading.table.folder)) == 1:
                columns[names[0]] = {**empty, **{column: row[position] for column, position in positions}}
    items = [replace(item, columns=columns.get(item.name, empty)) for item in labels.items] if empty else labels.items
    tables = {reading.table.name for reading in readings}
    note = f"labels: the class folders; {', '.join(sorted(tables))} gives further columns"
    return replace(labels, items=items, read=labels.read | tables, notes=[note, *labels.notes])


def _match(found: Survey, finder: Finder, readings: Sequence[Reading]) -> tuple[dict[str, Row], list[tuple[str, str]]]:
    """{image: its row}, and what is left out: rows without an image, and images with two labels."""
    empty = dict.fromkeys((column for reading in readings for column in reading.others), "")
    labelled: dict[str, Row] = {}
    several: dict[str, set[str]] = defaultdict(set)
    left_out = []
    for reading in readings:
        where = reading.table.name
        for field, label, part, columns in reading.rows():
            names = _choose(finder.find(field, reading.table.folder), part or reading.table.part, found.top)
            if len(names) != 1:
                reason = (
                    f"in {where}, but there is no such file"
                    if not names
                    else f"in {where}, {len(names)} files have this name"
                )
                left_out.append((field or "(no name)", reason))
            elif not label:
                left_out.append((names[0], f"no label in {where}"))
            else:
                part = part or reading.table.part or _part_of(names[0], found.top) or "train"
                row = labelled.setdefault(names[0], Row(label, part, {**empty, **columns}))
                if row.label != label:
                    several[names[0]] |= {row.label, label}
    for name, both in several.items():
        del labelled[name]
        left_out.append((name, f"several labels: {', '.join(sorted(both)[:3])}"))
    return labelled, left_out


def _choose(names: list[str], part: PartName | None, top: str) -> list[str]:
    """Of several files of one name, those of the row's part; without one, those that are not in a folder for test."""
    if len(names) < 2:
        return names
    return [name for name in names if _part_of(name, top) == part] or [
        name for name in names if _part_of(name, top) != "test"
    ]


def _part_of(name: str, top: str) -> PartName | None:
    """The part that the first folder of a name says, or one that any of its folders says in one word."""
    *folders, _ = name[len(top) :].split("/") if name.startswith(top) else name.split("/")
    said = [spelled(folder) for folder in folders[:1]] + [SPELLINGS.get(folder.lower()) for folder in folders[1:]]
    return next((part for part in said if part), None)


def _with_paths(items: list[Item], folders: list[str], top: str) -> list[Item]:
    """The items with their paths in the dataset: short ones, if that gives each its own."""
    short = [f"{item.part}/{folders[item.label]}/{item.name.rpartition('/')[2]}" for item in items]
    if len({path.lower() for path in short}) < len(short):
        short = [f"{item.part}/{folders[item.label]}/{item.name.removeprefix(top)}" for item in items]
    return [replace(item, path=path) for item, path in zip(items, short, strict=True)]


def _add_unlabelled(found: Survey, labels: Labels, known: set[str], readings: Sequence[Reading]) -> None:
    tables = ", ".join(sorted({reading.table.name for reading in readings}))
    for name in found.all_images:
        if name in known:
            continue
        if _part_of(name, found.top) == "test":
            labels.ignored.append((name, "test images without a class"))
        else:
            labels.left_out.append((name, f"not in {tables}"))


def _notes(readings: Sequence[Reading], items: Sequence[Item]) -> list[str]:
    first = readings[0]
    assert first.label is not None
    names = first.label.names
    what = f"{names[0]!r}, ... (one column per class)" if first.label.one_hot else repr(names[0])
    tables = ", ".join(reading.table.name for reading in readings)
    notes = [f"labels: {tables}, names in {first.image!r}, labels in {what}"]
    counts = Counter(item.part for item in items)
    if len(counts) > 1:
        source = f" (column {first.part!r})" if first.part else ""
        notes.append("parts: " + ", ".join(f"{p} ({counts[p]:,})" for p in PARTS if p in counts) + source)
    return notes


def _note_on_numbers(names: list[str]) -> list[str]:
    if all(name.lstrip("-").isdecimal() for name in names) and names != [str(i) for i in range(len(names))]:
        label = next(i for i, name in enumerate(names) if name != str(i))
        return [f"the labels are numbers with gaps: class {names[label]!r} has label {label}"]
    return []
