"""Tables that lie near images and may label them."""

from feedline.convert.layouts import Wanted
from feedline.convert.layouts.columns import names_no_image
from feedline.convert.layouts.finder import Finder
from feedline.convert.layouts.reading import Reading, inspect
from feedline.convert.layouts.survey import Survey
from feedline.convert.layouts.tables import SUFFIXES, read_table
from feedline.convert.layouts.taken import suffix_of
from feedline.pipeline.errors import InputError

_MAX_DEPTH = 2  # folders around a table that is looked into unasked
_MAX_BYTES = 256 << 20  # of such a table


def candidates(found: Survey, wanted: Wanted) -> tuple[list[Reading], list[InputError]]:
    """Finds tables near the top that name images.

    Returns:
        The tables, and what is wrong with each other one: first with those that could be read.
    """
    finder = Finder(found.all_images)
    sizes = found.tree.contents.files
    readings: list[Reading] = []
    unsuitable: list[InputError] = []
    nameless: list[InputError] = []
    unreadable: list[InputError] = []
    for name in found.others:
        near = name.count("/") <= found.top.count("/") + _MAX_DEPTH and sizes[name] <= _MAX_BYTES
        if suffix_of(name) not in SUFFIXES or not near or "submission" in name.rpartition("/")[2].lower():
            continue
        try:
            table = read_table(name, name[: name.rfind("/") + 1], found.tree.read(name))
        except InputError as error:
            unreadable.append(error)
            continue
        try:
            reading = inspect(table, finder, wanted)
        except InputError as error:
            unsuitable.append(error)
            continue
        if reading:
            readings.append(reading)
        else:
            nameless.append(names_no_image(table, found.source, found.all_images))
    return readings, [*unsuitable, *nameless, *unreadable]


def no_table(found: Survey, wanted: Wanted) -> InputError:
    """The error for a column that was named where there is no table."""
    argument, column = (
        ("label_column", wanted.label_column) if wanted.label_column else ("image_column", wanted.image_column)
    )
    return InputError(
        f"`{argument}={column}`: {found.source} holds no table (CSV, TSV, JSON lines); name one with `labels`, or "
        "leave it out"
    )
