"""What the rows of tables say of images: each image once, with one label and one part."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from feedline.convert.layouts.label_text import plain
from feedline.pipeline.dataset import PartName


@dataclass(frozen=True)
class Row:
    """What a row says of an image."""

    label: str
    part: PartName
    columns: Mapping[str, str]


@dataclass
class Matched:
    """What rows say of images.

    Attributes:
        rows: {image: its row}.
        left_out: (name, reason) of rows without an image, and after `close` of images without a label, or with several.
        repeated: images that a row names again, with the same label.
        unlabelled, several: {image: why it is left out}.
        respelled: {field: image} where they differ in case, or in how accents are written.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    respelled: dict[str, str] = field(default_factory=dict)
    unlabelled: dict[str, str] = field(default_factory=dict)
    several: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, row: Row) -> None:
        """Takes a row of an image."""
        known = self.rows.setdefault(name, row)
        if known is row:
            return
        if plain(known.label) != plain(row.label):
            self.several[name] = f"several labels: {', '.join(sorted({known.label, row.label}))}"
        elif known.part != row.part:
            self.several.setdefault(name, f"several parts: {', '.join(sorted({known.part, row.part}))}")
        else:
            self.repeated.append(name)

    def close(self) -> None:
        """Leaves out images of which rows say nothing, or different things."""
        self.left_out += [(name, reason) for name, reason in self.unlabelled.items() if name not in self.rows]
        self.left_out += self.several.items()
        self.rows = {name: row for name, row in self.rows.items() if name not in self.several}

    @property
    def notes(self) -> list[str]:
        """Lines for the user."""
        notes = []
        if self.repeated:
            count, first = len(self.repeated), self.repeated[0]
            notes.append(f"rows that repeat an image with its label, and do not count: {count:,}, the first of {first}")
        if self.respelled:
            text, name = next(iter(self.respelled.items()))
            notes.append(
                f"names that differ from the file's in case or accents only, and are taken for it: "
                f"{len(self.respelled):,}, the first {text!r} for {name}"
            )
        return notes
