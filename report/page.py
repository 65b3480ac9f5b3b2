"""A page: a headline, sections, and everything that they need in one file."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from feedline.pipeline.files import write_text

NONE = "-"  # in the place of a number


@dataclass(frozen=True)
class Picture:
    """An image with a line or two below it.

    Attributes:
        data: the bytes of a file that browsers show.
        caption: the first line.
        note: the second line.
        mime: of the file.
    """

    data: bytes
    caption: str = ""
    note: str = ""
    mime: str = "image/jpeg"

    @property
    def address(self) -> str:
        """The picture as a data URL."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True)
class Table:
    """Rows of text below a header.

    Attributes:
        header: of the columns; empty for none.
        rows: their cells; `Markup` is set as it is.
        mixed: a column holds numbers and words; else cells that are numbers are set to the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    mixed: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page, of which each piece may be absent.

    Attributes:
        title: of the section.
        text: a paragraph above the rest.
        charts: bokeh figures, side by side where there is room.
        pictures: with captions.
        pairs: each picture holds two, side by side, and gets more room.
        tables: one below the other.
        code: a command or a file, shown as it is.
        folded: closed until it is opened.
        axes: (column, name) of what the x axis of the charts may be, the first at the start. The sources of their lines
            have these columns.
        key: (name, colour) of lines that may be hidden in all charts; the lines are called so.
    """

    title: str
    text: str = ""
    charts: Sequence[Any] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    code: str = ""
    folded: bool = False
    pairs: bool = False
    axes: Sequence[tuple[str, str]] = ()
    key: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: of the window and the page.
        subtitle: a line below.
        figures: (what, value) of the headline, most important first.
        sections: in order.
    """

    title: str
    subtitle: str = ""
    figures: Sequence[tuple[str, str]] = ()
    sections: Sequence[Section] = field(default_factory=tuple)

    def html(self) -> str:
        """The whole page: no link in it leads to another file."""
        charts = [chart for section in self.sections for chart in section.charts]
        script, blocks = components(charts) if charts else ("", ())
        shown = iter(blocks)
        sections = [(section, [Markup(next(shown)) for _ in section.charts]) for section in self.sections]
        return _template().render(
            page=self,
            sections=sections,
            library=Markup(_library()) if charts else "",
            script=Markup(script),
            number=_is_number,
            swatch=swatch,
        )

    def write(self, path: Path) -> None:
        """Writes the page, whole or not at all."""
        write_text(path, self.html())


def swatch(colour: str, name: str) -> Markup:
    """A name behind a spot of its colour."""
    return Markup('<i style="background: {}"></i>{}').format(colour, name)


def facts(pairs: Iterable[tuple[str, Any]]) -> Table:
    """A table of names and values, without those that are None."""
    return Table((), [(name, value) for name, value in pairs if value is not None])


def _is_number(cell: object) -> bool:
    """Whether a cell is set to the right: a number, or the dash that stands for one."""
    if cell == NONE:
        return True
    try:
        float(str(cell).strip(" %").replace(",", ""))
    except ValueError:
        return False
    return True


@lru_cache
def _library() -> str:
    """Bokeh's script, 1.2 MB."""
    return str(Resources(mode="inline", components=["bokeh"]).render_js())


@lru_cache
def _template() -> Any:
    folder = Path(__file__).resolve().parent
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html")
