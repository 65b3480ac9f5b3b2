"""What a rung has found so far, on disk the moment it is known; and how long it may still take."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.errors import FeedlineError, first_line
from feedline.pipeline.files import write_json
from feedline.training.meter import hardware, versions


class Report:
    """The JSON file of a rung, written anew with every row.

    Args:
        path: of the file.
        device: what is measured.
        minutes: after which `time_left` says no.
        about: what else belongs at the top of the file.
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
        """Seconds."""
        return self._end - time.monotonic()

    def row(self, measure: Callable[[], dict[str, Any]], **what: Any) -> dict[str, Any] | None:
        """Measures and writes a row; one that fails is a row too. None if the time is up or it failed."""
        if self.time_left() <= 0:
            self.content["skipped for want of time"] = self.content.get("skipped for want of time", 0) + 1
            self.write()
            return None
        found: dict[str, Any] | None = None
        try:
            found = measure()
            line = {**what, **found}
        except (FeedlineError, RuntimeError, MemoryError) as error:  # out of memory, a kernel that does not exist
            line = {**what, "problem": first_line(error, 300)}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.content["rows"].append(line)
        self.write()
        print("  " + "  ".join(f"{key} {_short(value)}" for key, value in line.items()), flush=True)
        return None if found is None else line

    def close(self, **conclusion: Any) -> None:
        self.content.update(conclusion, complete="skipped for want of time" not in self.content)
        self.write()


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _driver() -> str:
    path = Path("/proc/driver/nvidia/version")
    return path.read_text(encoding="utf-8").splitlines()[0] if path.exists() else "unknown"
