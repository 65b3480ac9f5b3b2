"""Predictions as text: a table, CSV or JSON lines."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

from feedline.console import json_line
from feedline.output import one_line
from feedline.pipeline.dataset import ClassInfo
from feedline.use.names import class_name
from feedline.use.predicting import Prediction

Format: TypeAlias = Literal["table", "csv", "jsonl"]
FORMATS: tuple[Format, ...] = ("table", "csv", "jsonl")
WIDTH = 24  # of a class in the table, at most


class Rows:
    """Writes predictions in a format.

    Args:
        format: `table`; `csv`: path, then topN (the folder of the class), wordsN and probabilityN; `jsonl`: an object a
            line.
        classes: of the network.
        top: classes of each image.
    """

    def __init__(self, format: Format, classes: Sequence[ClassInfo], top: int) -> None:
        self._format, self._classes, self._top = format, classes, min(top, len(classes))
        names = [one_line(class_name(info)) for info in classes]
        self._names = [name if len(name) <= WIDTH else f"{name[: WIDTH - 3]}..." for name in names]
        self._width = max(map(len, self._names))

    def header(self) -> str:
        """The first line of a CSV file; else empty."""
        if self._format != "csv":
            return ""
        ranks = range(1, self._top + 1)
        return _csv(["path", *(f"{name}{rank}" for rank in ranks for name in ("top", "words", "probability"))])

    def entry(self, prediction: Prediction) -> dict[str, Any]:
        """As an object of JSON."""
        pairs = zip((self._classes[label] for label in prediction.top), prediction.probabilities, strict=True)
        top = [{"class": c.folder, "words": c.words, "probability": round(share, 6)} for c, share in pairs]
        return {"path": prediction.path, "top": top}

    def row(self, prediction: Prediction) -> str:
        """A line, with its end."""
        if self._format == "csv":
            chosen = [self._classes[label] for label in prediction.top]
            cells = [
                [c.folder, c.words, f"{share:.6f}"] for c, share in zip(chosen, prediction.probabilities, strict=True)
            ]
            return _csv([prediction.path, *(cell for three in cells for cell in three)])
        if self._format == "jsonl":
            return json_line(self.entry(prediction)) + "\n"
        cells_ = [
            f"{100 * share:6.2f} % {self._names[label]:<{self._width}}"
            for label, share in zip(prediction.top, prediction.probabilities, strict=True)
        ]
        return f"{'  '.join(cells_)}  {one_line(prediction.path)}\n"


def _csv(cells: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)  # which quotes a lone \r only if its own line ends hold one
    return text.getvalue().removesuffix("\r\n") + "\n"
