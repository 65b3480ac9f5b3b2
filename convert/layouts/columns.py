"""Which columns of a table hold file names, labels and parts: guessed where there is only one way."""

from collections.abc import Sequence
from dataclasses import dataclass

from feedline.convert.layouts.finder import Finder
from feedline.convert.layouts.label_text import is_container
from feedline.convert.layouts.parts import spelled
from feedline.convert.layouts.tables import Table
from feedline.output import listed
from feedline.pipeline.errors import InputError, did_you_mean

_SHOWN = 6  # fields of a row in an error
_SAMPLED = 200  # rows that show what a column holds
LABEL_NAMES = ("label", "labels", "class", "classes", "class_name", "category", "target")
_PARTS = {"split", "set", "part", "partition", "subset", "data set", "data_set", "dataset", "fold_name"}


@dataclass(frozen=True)
class LabelColumns:
    """Where a table's labels are.

    Attributes:
        names: one column of labels; or one for each class, with 1 in that of the image's class (`one_hot`).
    """

    names: tuple[str, ...]
    one_hot: bool = False


def image_column(table: Table, finder: Finder) -> str | None:
    """The column whose fields are names of images; None if there is none.

    Names with a suffix go before names without one, which may be mere numbers.

    Raises:
        InputError: if two columns name different images.
    """
    rows = table.rows[:: max(len(table.rows) // _SAMPLED, 1)]
    found: dict[str, list[str]] = {}
    repeating: dict[str, list[str]] = {}  # with a suffix, so they are no labels that happen to be names
    full = set()
    for position, column in enumerate(table.columns):
        fields = [row[position] for row in rows]
        images = [names[0] if (names := finder.find(field, table.folder)) else "" for field in fields]
        hits = [image for image in images if image]
        if 2 * len(hits) < len(rows) or not hits:
            continue
        has_suffix = sum(map(finder.is_file_name, fields)) * 2 >= len(hits)
        if 2 * len(set(hits)) > len(hits):
            found[column] = images
            full |= {column} if has_suffix else set()
        elif has_suffix and len(set(hits)) > 1:
            repeating[column] = images
    found = found or repeating
    candidates = [column for column in found if column in full] or list(found)
    if len({tuple(found[column]) for column in candidates}) > 1:
        raise InputError(
            f"{table.name}: the columns {_listed(candidates)} could each name the images; choose with `image_column`"
        )
    return candidates[0] if candidates else None


def label_columns(table: Table, taken: Sequence[str]) -> LabelColumns | None:
    """The columns of labels; None if there are several ways, or none.

    Args:
        table: the table.
        taken: columns that hold something else.
    """
    rest = [column for column in table.columns if column not in taken and not _is_index(table, column)]
    by_name = {column.lower().strip(): column for column in rest}
    if named := next((by_name[name] for name in LABEL_NAMES[:2] if name in by_name), None):
        return LabelColumns((named,))
    if len(rest) == 1:
        return None if is_of_one_each(table.column(rest[0])) else LabelColumns((rest[0],))
    if one_hot := _one_hot(table, rest):
        return LabelColumns(one_hot, one_hot=True)
    named_ones = [by_name[name] for name in LABEL_NAMES if name in by_name]
    likely = named_ones if len(named_ones) == 1 else [column for column in rest if can_be_label(table.column(column))]
    return LabelColumns((likely[0],)) if len(likely) == 1 else None


def can_be_label(fields: Sequence[str]) -> bool:
    """Whether texts can be classes: at least two, which come again and again."""
    filled = [field for field in fields if field]
    distinct = len(set(filled))
    return 2 <= distinct <= len(filled) // 2 and 2 * len(filled) >= len(fields) and not any(map(is_container, filled))


def is_of_one_each(fields: Sequence[str]) -> bool:
    """Whether each of at least three rows would be a class of its own, as captions and boxes are."""
    filled = [field for field in fields if field]
    return 2 < len(filled) == len(set(filled)) or (len(filled) > 0 and all(map(is_container, filled)))


def part_column(table: Table) -> str | None:
    """The column that says train, val or test; None if there is none. Not every row has to say so."""
    for column in table.columns:
        parts = {spelled(field) for field in set(table.column(column))} if column.lower().strip() in _PARTS else set()
        if "train" in parts or (parts and None not in parts):
            return column
    return None


def check_column(table: Table, column: str, argument: str) -> str:
    """Checks that a table has a column.

    Raises:
        InputError: if it has not.
    """
    if column not in table.columns:
        raise no_column(table.name, table.columns, argument, column)
    return column


def no_column(where: str, columns: Sequence[str], argument: str, column: str) -> InputError:
    """The error for a column that was named and is not there: those that are."""
    near = did_you_mean(column, columns)
    return InputError(f"`{argument}={column}`: no such column in {where}; it has {_listed(columns)}{near}")


def names_no_image(table: Table, source: str, images: Sequence[str], column: str | None = None) -> InputError:
    """The error for a table that names none of a source's images: an example of both.

    Args:
        table: the table.
        source: what errors call the source.
        images: their names, at least one.
        column: that should name them; None if none is known.
    """
    if not table.rows:
        return InputError(f"{table.name}: has no rows below its column names; give a table with a row for each image")
    row = table.rows[0]
    said = ", ".join(row[:_SHOWN]) if column is None else row[table.columns.index(column)]
    where = "its first row is" if column is None else f"the first row of column {column!r} is"
    return InputError(
        f"{table.name}: names none of the images of {source}: {where} {said!r}, the first image is {min(images)!r}; "
        "correct the names, or choose a column with `image_column`"
    )


def ambiguous_label(table: Table, taken: Sequence[str]) -> InputError:
    """The error for a table whose label could be in several columns, or in none."""
    rest = [column for column in table.columns if column not in taken]
    if not rest:
        return InputError(
            f"{table.name}: has the column {_listed(table.columns)} only, and no labels; add a column of labels"
        )
    if len(rest) == 1:
        return InputError(
            f"{table.name}: each image would be a class of its own in {rest[0]!r}, the only column that could hold "
            "labels; add a column of labels, or name this one with `label_column`"
        )
    likely = [column for column in rest if can_be_label(table.column(column))] or rest
    return InputError(f"{table.name}: the label could be in {_listed(likely)}; choose with `label_column`")


def _one_hot(table: Table, columns: list[str]) -> tuple[str, ...]:
    """Columns of 0 and 1 with one 1 in each row, if all columns are such."""
    positions = [table.columns.index(column) for column in columns]
    if len(positions) < 2 or not table.rows:
        return ()
    for row in table.rows:
        fields = [row[position] for position in positions]
        if not {"0", "1", "0.0", "1.0"}.issuperset(fields) or sum(field[0] == "1" for field in fields) != 1:
            return ()
    return tuple(columns)


def _is_index(table: Table, column: str) -> bool:
    """Whether a column only numbers the rows, as pandas writes it."""
    unnamed = column.startswith(("column ", "Unnamed: ")) or column.lower() == "index"
    fields = table.column(column)
    return unnamed and fields in ([str(i) for i in range(len(fields))], [str(i + 1) for i in range(len(fields))])


def _listed(columns: Sequence[str]) -> str:
    return listed([repr(column) for column in columns], 8)
