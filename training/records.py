"""Files of records: log.jsonl and CSV files."""

import contextlib
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from feedline.pipeline.errors import InputError
from feedline.pipeline.files import plain, write_text


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a header and one line per row; the keys of all rows are the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


class Log:
    """A file with one line of JSON per record.

    Args:
        path: the file; its folder is created.
        keep: for a resumed run, whether to keep a record of the file; None for a new file.
        write: False for ranks that do not write.

    Attributes:
        step: of the last record that was kept; 0 for none.

    Raises:
        InputError: if a folder has the file's name.
    """

    def __init__(
        self, path: Path, keep: Callable[[Mapping[str, Any]], bool] | None = None, *, write: bool = True
    ) -> None:
        self._file: TextIO | None = None
        self.step = 0
        if not write:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[str] = []
        if path.is_dir():
            raise InputError(f"{path}: is a folder, where the log of a run is written; move it away")
        if keep is not None and path.exists():
            for line in path.read_bytes().splitlines():
                try:
                    record = json.loads(line)
                    if keep(record):
                        kept.append(line.decode() + "\n")
                        self.step = record["step"]
                except (ValueError, KeyError, TypeError):  # the last line of a killed run may be cut off
                    continue
        write_text(path, "".join(kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(plain(record)) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # a full disk: `write` has said so
                self._file.close()
