"""Progress of a loop: a bar on a terminal, lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

from feedline.console import is_quiet


class Progress:
    """A bar on a terminal, which is gone at the end; elsewhere a line every 15 seconds at most. Nothing if `is_quiet`.

    Args:
        total: steps; None if it is not known.
        done: steps done already.
        title: text before the bar.
        unit: what is counted.
        quiet: show nothing.
        lines: where lines go; None for stdout.
    """

    LINE_EVERY = 15.0  # seconds between lines where there is no terminal

    def __init__(
        self,
        total: int | None,
        done: int,
        title: str,
        *,
        unit: str = "step",
        quiet: bool = False,
        lines: TextIO | None = None,
    ) -> None:
        self._quiet = quiet or is_quiet()
        self._terminal = sys.stderr.isatty() and not self._quiet
        self._title, self._total, self._unit, self._lines = title, total, unit, lines
        unit = unit if unit == "step" else f" {unit}"
        self._bar = tqdm(total=total, initial=done, desc=title, unit=unit, disable=not self._terminal, leave=False)
        self._done, self._printed = done, time.monotonic()

    def step(self) -> None:
        """Counts a step, of which `show` will say more."""
        self._done += 1
        self._bar.update(1)

    def show(self, text: str) -> None:
        """Shows the newest figures."""
        if self._terminal:
            self._bar.set_postfix_str(text)
        else:
            self._print(text)

    def update(self, count: int = 1) -> None:
        """Counts steps of which there is nothing more to say."""
        self._done += count
        self._bar.update(count)
        if not self._terminal:
            self._print("")

    def write(self, text: str) -> None:
        """Writes a line to stderr, above the bar."""
        self._bar.write(text, file=sys.stderr)

    def _print(self, text: str) -> None:
        if self._quiet or time.monotonic() - self._printed <= self.LINE_EVERY:
            return
        self._printed = time.monotonic()
        of = "" if self._total is None else f"/{self._total}"
        line = f"{self._title} {self._unit} {self._done}{of}  {text}"
        print(line.rstrip(), file=self._lines or sys.stdout, flush=True)

    def close(self) -> None:
        self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
