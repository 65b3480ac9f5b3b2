"""What a run writes: the log, the table of epochs, the summary."""

import csv
import io
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary name and renames it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Readable JSON. Not-a-number, which JSON lacks, becomes null."""
    write_text(path, json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A header and a line a row; the first row names the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


class Log:
    """`log.jsonl`: a line a record, each with the global step at which it was written."""

    def __init__(
        self, path: Path, keep: Callable[[Mapping[str, Any]], bool] | None = None, *, write: bool = True
    ) -> None:
        """Opens the log.

        Args:
            path: where; its folder is made.
            keep: on resuming, which of the records there are older than the checkpoint; None for a new log.
            write: False for ranks that keep none.
        """
        self._file: TextIO | None = None
        if not write:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[str] = []
        if keep is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    if keep(json.loads(line)):
                        kept.append(line + "\n")
                except (ValueError, KeyError, TypeError):  # the line that an interruption cut off
                    continue
        write_text(path, "".join(kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(_plain(record)) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Progress:
    """A bar on a terminal; elsewhere a line now and then."""

    QUIET = 15.0  # seconds between lines where there is no terminal

    def __init__(self, total: int, done: int, title: str, *, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._title, self._total = title, total
        self._bar = tqdm(total=total, initial=done, desc=title, unit="step", disable=not self._terminal, leave=False)
        self._done, self._said = done, time.monotonic()

    def step(self) -> None:
        self._done += 1
        self._bar.update(1)

    def show(self, text: str) -> None:
        if self._terminal:
            self._bar.set_postfix_str(text)
        elif time.monotonic() - self._said > self.QUIET:
            self._said = time.monotonic()
            print(f"{self._title} step {self._done}/{self._total}  {text}", flush=True)

    def close(self) -> None:
        self._bar.close()
