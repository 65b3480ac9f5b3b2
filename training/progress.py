"""Progress of a loop: a bar on a terminal, lines elsewhere."""

import sys
import time

from tqdm import tqdm


class Progress:
    """A bar on a terminal; elsewhere a line every 15 seconds at most.

    Args:
        total: steps.
        done: steps done already.
        title: text before the bar.
        quiet: no bar.
    """

    LINE_EVERY = 15.0  # seconds between lines where there is no terminal

    def __init__(self, total: int, done: int, title: str, *, quiet: bool = False) -> None:
        self._terminal = sys.stderr.isatty() and not quiet
        self._title, self._total = title, total
        self._bar = tqdm(total=total, initial=done, desc=title, unit="step", disable=not self._terminal, leave=False)
        self._done, self._printed = done, time.monotonic()

    def step(self) -> None:
        """Counts a step."""
        self._done += 1
        self._bar.update(1)

    def show(self, text: str) -> None:
        """Shows the newest figures."""
        if self._terminal:
            self._bar.set_postfix_str(text)
        elif time.monotonic() - self._printed > self.LINE_EVERY:
            self._printed = time.monotonic()
            print(f"{self._title} step {self._done}/{self._total}  {text}", flush=True)

    def close(self) -> None:
        self._bar.close()
