"""Tables of names and labels: CSV, TSV and JSON lines, as spreadsheets and programs write them."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from feedline.convert.layouts.parts import spelled
from feedline.convert.layouts.taken import suffix_of
from feedline.pipeline.dataset import PartName
from feedline.pipeline.errors import InputError, first_line

JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = {".csv", ".tsv", *JSON_LINES}
_DELIMITERS = ",;\t|"
_NO_TABLES = {
    b"PK": "a spreadsheet or an archive; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet; save it as CSV",
    b"\x1f\x8b": "compressed; unpack it",
    b"PAR1": "a Parquet file; save the table as CSV",
}
_PROBED = 20  # rows that show the delimiter
_MAX_FIELD = 1 << 24  # characters


@dataclass(frozen=True)
class Table:
    """The rows of a table.

    Attributes:
        name: what errors and findings call it.
        folder: folder in the tree that file names are relative to, with a slash at the end; empty for the tree itself.
        columns: their names, none empty, none twice.
        rows: a text for each column.
    """

    name: str
    folder: str
    columns: list[str]
    rows: list[list[str]]

    @property
    def part(self) -> PartName | None:
        """The part that the table's name says: `test.csv`."""
        return spelled(self.name.rpartition("/")[2].rpartition(".")[0])

    def column(self, name: str) -> list[str]:
        """The texts of a column."""
        position = self.columns.index(name)
        return [row[position] for row in self.rows]


def read_table(name: str, folder: str, data: bytes) -> Table:
    """Reads a table.

    Args:
        name: with its suffix: `.jsonl` or `.ndjson`, or text with one row a line and `,`, `;`, `|` or a tab between
            fields.
        folder: see `Table`.
        data: the file: UTF-8, UTF-16 with a mark, or Windows' Latin-1.

    Raises:
        InputError: if it cannot be read as a table.
    """
    for magic, what in _NO_TABLES.items():
        if data.startswith(magic):
            raise InputError(f"{name}: {what}")
    text = _decode(data)
    json_lines = suffix_of(name) in JSON_LINES
    if not json_lines and text.lstrip()[:1] in ("[", "{"):
        raise InputError(f"{name}: JSON, but no table; write one object a line, as .jsonl, or a CSV")
    columns, rows = _read_json(name, text) if json_lines else _read_csv(name, text)
    if len(set(columns)) < len(columns):
        twice = next(column for column in columns if columns.count(column) > 1)
        raise InputError(f"{name}: has two columns {twice!r}; rename one")
    return Table(name, folder, columns, rows)


def _decode(data: bytes) -> str:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _read_csv(name: str, text: str) -> tuple[list[str], list[list[str]]]:
    text = text.replace("\0", "")
    delimiter = "\t" if suffix_of(name) == ".tsv" else _delimiter(text, spaces=suffix_of(name) == ".txt")
    if text[:4].lower() == "sep=":  # Excel's mark of the delimiter
        first, _, text = text.partition("\n")
        delimiter = first.strip()[4:5] or delimiter
    csv.field_size_limit(_MAX_FIELD)
    try:
        lines = [
            [field.strip() for field in row] for row in csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
        ]
    except csv.Error as error:
        raise InputError(f"{name}: not a table ({first_line(error)}); save it as CSV again") from error
    filled = [(number, row) for number, row in enumerate(lines, 1) if any(row)]
    if not filled:
        raise InputError(f"{name}: has no rows; give a table with a line of column names")
    if text.count('"') % 2 and "\n" in "".join(filled[-1][1]):
        raise InputError(f"{name}: a quotation mark before row {filled[-1][0] + 1} is never closed; correct it")
    header = filled[0][1]
    while len(header) > 1 and not header[-1]:
        header = header[:-1]
    columns = [column or f"column {position}" for position, column in enumerate(header, 1)]
    rows = []
    for number, row in filled[1:]:
        if any(row[len(columns) :]):
            raise InputError(
                f"{name}: row {number} has {len(row)} fields, the first row {len(columns)}; put fields that contain "
                f"{delimiter!r} into quotes"
            )
        rows.append([*row, *[""] * (len(columns) - len(row))][: len(columns)])
    return columns, rows


def _delimiter(text: str, *, spaces: bool) -> str:
    """The delimiter that gives the same number of fields, and the most of them, in the first rows.

    Spaces are one if there is no other: in lists of files, `images/1.jpg cat`.
    """

    def fields(delimiter: str) -> int:
        head = csv.reader(io.StringIO(text[: 1 << 16], newline=None), delimiter=delimiter)
        try:
            counts = {len(row) for row, _ in zip(head, range(_PROBED), strict=False) if any(row)}
        except csv.Error:
            return 0
        return min(counts) if counts else 0

    best = max(_DELIMITERS, key=fields)
    return " " if spaces and fields(best) < 2 and fields(" ") > 1 else best


def _read_json(name: str, text: str) -> tuple[list[str], list[list[str]]]:
    entries = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{name}: line {number} is not JSON ({first_line(error)}); write one object a line"
            ) from error
        if not isinstance(entry, dict):
            raise InputError(f"{name}: line {number} is not a JSON object; write one object a line")
        entries.append({str(key): _text(value) for key, value in entry.items()})
    columns = list(dict.fromkeys(key for entry in entries for key in entry))
    return columns, [[entry.get(column, "") for column in columns] for entry in entries]


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
