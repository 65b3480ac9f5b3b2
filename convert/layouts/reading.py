"""A table, and what its columns mean."""

from dataclasses import dataclass, replace

from feedline.convert.layouts import Wanted
from feedline.convert.layouts.columns import LabelColumns, check_column, image_column, label_columns, part_column
from feedline.convert.layouts.finder import Finder
from feedline.convert.layouts.tables import Table
from feedline.pipeline.errors import InputError

METADATA_IMAGE = "file_name"  # the column of Hugging Face's metadata.csv that names the image


@dataclass(frozen=True)
class Reading:
    """A table, and which of its columns mean what.

    Attributes:
        table: the rows.
        image: the column of file names.
        label: the columns of labels; None if there are none, or several ways.
        part: the column of train, val and test; None if there is none.
        others: the other columns.
    """

    table: Table
    image: str
    label: LabelColumns | None
    part: str | None
    others: list[str]

    @property
    def taken(self) -> list[str]:
        """Columns that cannot be the label."""
        return [column for column in (self.image, self.part) if column]

    @property
    def labels(self) -> list[str]:
        """The label of each row; there are columns of labels."""
        assert self.label is not None
        if not self.label.one_hot:
            return self.table.column(self.label.names[0])
        positions = [self.table.columns.index(column) for column in self.label.names]
        return [next((self.table.columns[i] for i in positions if row[i][:1] == "1"), "") for row in self.table.rows]

    def rows(self) -> "list[tuple[str, str, str, dict[str, str]]]":
        """(file name, label, part as the table has it or empty, {column: text}) of each row."""
        image = self.table.columns.index(self.image)
        part = self.table.columns.index(self.part) if self.part else None
        others = [(column, self.table.columns.index(column)) for column in self.others]
        return [
            (
                row[image],
                label,
                "" if part is None else row[part],
                {column: row[position] for column, position in others},
            )
            for row, label in zip(self.table.rows, self.labels, strict=True)
        ]


def inspect(table: Table, finder: Finder, wanted: Wanted, *, image: str | None = None) -> Reading | None:
    """Finds out what the columns of a table mean; None if no column names images.

    Args:
        table: the table.
        finder: of the images.
        wanted: columns that the user named.
        image: the column of file names, if it is known.

    Raises:
        InputError: if a column that was named is not there, or two columns could name the images.
    """
    if any(finder.is_file_name(column) for column in table.columns):
        table = _with_numbers(table)
    if wanted.image_column:
        image = check_column(table, wanted.image_column, "image_column")
    image = image or image_column(table, finder)
    if image is None:
        return None
    if {wanted.image_column, wanted.label_column}.isdisjoint(table.columns) and _is_row(table, image, finder):
        position = table.columns.index(image)
        table = _with_numbers(table)
        image = table.columns[position]
    part = part_column(table)
    taken = [column for column in (image, part) if column]
    if wanted.label_column:
        if wanted.label_column == image:
            raise InputError(f"`label_column={image}`: names the images in {table.name}; name the column of the labels")
        label: LabelColumns | None = LabelColumns((check_column(table, wanted.label_column, "label_column"),))
    else:
        label = label_columns(table, taken)
    used = {*taken, *(label.names if label else ())}
    return Reading(table, image, label, part, [column for column in table.columns if column not in used])


def _is_row(table: Table, image: str, finder: Finder) -> bool:
    """Whether the first line of a table is no line of names, but names an image as the rows below do."""
    if table.columns == [str(i) for i in range(len(table.columns))]:  # what pandas calls columns
        return False
    others = [column for column in table.columns if column != image]
    return (
        (all(column in table.column(column) for column in others) or any(map(str.isdigit, image)))
        and finder.is_file_name(image) == finder.is_file_name(next(iter(table.column(image)), ""))
        and image not in table.column(image)
        and finder.find(image, table.folder) != []
    )


def _with_numbers(table: Table) -> Table:
    """A table without a line of names."""
    names = [f"column {position}" for position in range(1, len(table.columns) + 1)]
    return replace(table, columns=names, rows=[table.columns, *table.rows])
