"""The results of a rung, written to disk at once, and its time limit."""

import json
import re
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from feedline.pipeline.errors import first_line
from feedline.pipeline.files import plain, write_json
from feedline.training.meter import hardware, versions

SKIPPED = "skipped, no time left"  # number of rows


class Report:
    """The JSON file of a rung, rewritten with every row.

    Args:
        path: the file.
        device: the device that is measured.
        minutes: time limit of the rung.
        go_on: keep the rows that the file has from an earlier call on such a machine, if they were measured to the end.
        about: more entries for the top of the file.
    """

    def __init__(self, path: Path, device: torch.device, minutes: float, *, go_on: bool = False, **about: Any) -> None:
        self._path, self._end = path, time.monotonic() + 60 * minutes
        gpu = {"driver": _driver()} if device.type == "cuda" else {}
        self.content: dict[str, Any] = {
            "complete": False,
            **about,
            "hardware": {**hardware(device), **gpu},
            "versions": versions(),
            "rows": [],
        }
        if go_on and path.exists():
            self.content["rows"] = _measured(json.loads(path.read_text(encoding="utf-8")), plain(self.content))
        self._before = list(self.content["rows"])
        self.write()

    def write(self) -> None:
        write_json(self._path, self.content)

    def time_left(self) -> float:
        """Seconds until the time limit; negative after it."""
        return self._end - time.monotonic()

    def row(self, measure: Callable[[], dict[str, Any]], **what: Any) -> dict[str, Any] | None:
        """Measures and writes a row, unless it was measured before.

        Returns None if there is no time left, or if it failed, in whatever way (also a row).
        """
        wanted = plain(what)
        for row in self._before:
            if wanted.items() <= row.items():
                return row
        if self.time_left() <= 0:
            self.content[SKIPPED] = self.content.get(SKIPPED, 0) + 1
            self.write()
            return None
        result: dict[str, Any] | None = None
        try:
            result = measure()
            line = {**what, **result}
        except Exception as error:  # the other rows may do, and a machine with a GPU is there for some minutes only
            traceback.print_exc()
            line = {**what, "problem": first_line(error, 300) or type(error).__name__}
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
        self.content["rows"].append(line)
        self.write()
        print("  " + "  ".join(f"{key} {_short(value)}" for key, value in line.items()), flush=True)
        return None if result is None else line

    def close(self, **conclusion: Any) -> None:
        self.content.update(conclusion, complete=SKIPPED not in self.content)
        self.write()


def _measured(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an earlier call that were measured to the end, if it had this machine, software and dataset."""
    same = ("rung", "tiny", "dataset", "hardware", "versions")
    if any(before.get(name) != now.get(name) for name in same):
        return []
    return [
        row for row in before["rows"] if "problem" not in row and row.get("finished", True) and not row.get("failed")
    ]


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _driver() -> str:
    path = Path("/proc/driver/nvidia/version")
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", path.read_text(encoding="utf-8")) if path.exists() else None
    return found[1] if found else "unknown"
