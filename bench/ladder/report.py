"""The results of a rung, written to disk at once, and its time limit."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.errors import FeedlineError, first_line
from feedline.pipeline.files import write_json
from feedline.training.meter import hardware, versions

SKIPPED = "skipped, no time left"  # number of rows


class Report:
    """The JSON file of a rung, rewritten with every row.

    Args:
        path: the file.
        device: the device that is measured.
        minutes: time limit of the rung.
        about: more entries for the top of the file.
    """

    def __init__(self, path: Path, device: torch.device, minutes: float, **about: Any) -> None:
        self._path, self._end = path, time.monotonic() + 60 * minutes
        gpu = {"driver": _driver()} if device.type == "cuda" else {}
        self.content: dict[str, Any] = {
            "complete": False,
            **about,
            "hardware": {**hardware(device), **gpu},
            "versions": versions(),
            "rows": [],
        }
        self.write()

    def write(self) -> None:
        write_json(self._path, self.content)

    def time_left(self) -> float:
        """Seconds until the time limit; negative after it."""
        return self._end - time.monotonic()

    def row(self, measure: Callable[[], dict[str, Any]], **what: Any) -> dict[str, Any] | None:
        """Measures and writes a row. Returns None if there is no time left, or if it failed (also a row)."""
        if self.time_left() <= 0:
            self.content[SKIPPED] = self.content.get(SKIPPED, 0) + 1
            self.write()
            return None
        result: dict[str, Any] | None = None
        try:
            result = measure()
            line = {**what, **result}
        except (FeedlineError, RuntimeError, MemoryError) as error:  # e.g. out of memory, or no kernel for this device
            line = {**what, "problem": first_line(error, 300)}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.content["rows"].append(line)
        self.write()
        print("  " + "  ".join(f"{key} {_short(value)}" for key, value in line.items()), flush=True)
        return None if result is None else line

    def close(self, **conclusion: Any) -> None:
        self.content.update(conclusion, complete=SKIPPED not in self.content)
        self.write()


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _driver() -> str:
    path = Path("/proc/driver/nvidia/version")
    return path.read_text(encoding="utf-8").splitlines()[0] if path.exists() else "unknown"
