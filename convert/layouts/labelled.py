"""Labels from tables: `metadata.csv` beside the images, or a table of names and labels as Kaggle gives it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from feedline.convert.layouts import Item, Labels
from feedline.convert.layouts.class_names import class_infos, in_order
from feedline.convert.layouts.classes import notes_on_missing
from feedline.convert.layouts.columns import ambiguous_label, names_no_image
from feedline.convert.layouts.finder import Finder, is_spelled
from feedline.convert.layouts.label_text import is_container, label_of, notes_on_labels
from feedline.convert.layouts.matched import Matched, Row
from feedline.convert.layouts.parts import SPELLINGS, spelled
from feedline.convert.layouts.reading import Reading
from feedline.convert.layouts.survey import Survey
from feedline.output import counted
from feedline.pipeline.dataset import PARTS, PartName
from feedline.pipeline.errors import InputError

_SEVERAL = "files have this name"
_SHOWN = 30  # characters of a label in an error


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
    matched = _match(found, finder, readings)
    labelled, left_out = matched.rows, matched.left_out
    if not labelled:
        raise _no_label(found, finder, readings[0], left_out)
    names, number = in_order({row.label for row in labelled.values()})
    if lists := [name for name in names if is_container(name)]:
        raise InputError(
            f"{readings[0].table.name}: the label {lists[0][:_SHOWN]!r} is a list or an object, but an image has one "
            "class; name another column with `label_column`"
        )
    if len(names) < 2:
        raise InputError(
            f"{readings[0].table.name}: {counted(len(labelled), 'image')} with 1 label, {names[0]!r}; training needs "
            "two classes"
        )
    infos = class_infos(names)
    sizes = found.tree.contents.files
    items = [
        Item(name, "", row.part, number[row.label], sizes[name], columns=row.columns) for name, row in labelled.items()
    ]
    items = _with_paths(items, [info.folder for info in infos], found.top)
    labels = Labels(infos, items, left_out, read={reading.table.name for reading in readings})
    _add_unlabelled(found, labels, {*labelled, *(name for name, _ in left_out)}, readings)
    notes = [*matched.notes, *notes_on_missing(infos, items), *_note_on_numbers(names), *notes_on_labels(names)]
    labels.notes.extend([*_notes(readings, items), *notes])
    return labels


def _no_label(found: Survey, finder: Finder, reading: Reading, left_out: Sequence[tuple[str, str]]) -> InputError:
    """The error for tables of which no image gets a label."""
    if ambiguous := next((pair for pair in left_out if pair[1].endswith(_SEVERAL)), None):
        return InputError(
            f"{reading.table.name}: gives no image a label: {': '.join(ambiguous)}; write their folders into the "
            f"column {reading.image!r} too"
        )
    reasons = [f"{name}: {reason}" for name, reason in left_out if name in finder]
    if not reasons:
        return names_no_image(reading.table, found.source, found.all_images, reading.image)
    columns = ", ".join(map(repr, reading.table.columns))
    return InputError(
        f"{reading.table.name}: gives no image a label: {reasons[0]}; name another column with `label_column` "
        f"(it has {columns})"
    )


def attach(found: Survey, labels: Labels, readings: Sequence[Reading]) -> Labels:
    """Adds the columns of tables to images whose labels are known already."""
    finder = Finder(found.all_images)
    empty = dict.fromkeys((column for reading in readings for column in reading.others), "")
    columns = {}
    for reading in readings:
        positions = [(column, reading.table.columns.index(column)) for column in reading.others]
        for text, row in zip(reading.table.column(reading.image), reading.table.rows, strict=True):
            if len(names := finder.find(text, reading.table.folder)) == 1:
                columns[names[0]] = {**empty, **{column: row[position] for column, position in positions}}
    items = [replace(item, columns=columns.get(item.name, empty)) for item in labels.items] if empty else labels.items
    tables = {reading.table.name for reading in readings}
    note = f"labels: the class folders; {', '.join(sorted(tables))} gives further columns"
    return replace(labels, items=items, read=labels.read | tables, notes=[note, *labels.notes])


def _match(found: Survey, finder: Finder, readings: Sequence[Reading]) -> Matched:
    empty = dict.fromkeys((column for reading in readings for column in reading.others), "")
    matched = Matched()
    for reading in readings:
        where = reading.table.name
        for text, written, said, columns in reading.rows():
            part = spelled(said) or reading.table.part
            names = _choose(finder.find(text, reading.table.folder), part, found.top)
            if len(names) != 1:
                what = "but there is no such file" if not names else f"{len(names)} {_SEVERAL}"
                matched.left_out.append((text or "(no name)", f"in {where}, {what}"))
                continue
            name = names[0]
            if not is_spelled(text, name):
                matched.respelled.setdefault(text, name)
            if not (label := label_of(written)):
                matched.unlabelled[name] = f"no label in {where}{_in_brackets(written)}"
            elif reading.part and not spelled(said):
                matched.unlabelled[name] = (
                    f"no part in the column {reading.part!r} of {where}{f' ({said})' if said else ''}"
                )
            else:
                part = part or _part_of(name, found.top) or "train"
                matched.add(name, Row(label, part, {**empty, **columns}))
    matched.close()
    return matched


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


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
