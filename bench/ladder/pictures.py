"""Two rungs as bar charts: feed.png and compute.png."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from feedline.training import plots

Rows = Sequence[Mapping[str, Any]]


def write_pictures(out: Path) -> None:
    """Draws the rungs of which there are results."""
    for name, chosen, title in (
        ("feed", _feed, "Batches"),
        ("compute", _compute, "Model alone"),
    ):
        path = out / f"{name}.json"
        content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": []}
        rows = chosen([row for row in content["rows"] if "images_per_s" in row])
        if rows:
            rows.sort(key=lambda row: row[1], reverse=True)
            hardware = content["hardware"]
            device = hardware.get("gpu", hardware["cpu"])
            colours = [plots.BLUE if ours else plots.GRAY for *_, ours in rows]
            bars = [(label, speed, speed, speed) for label, speed, _ in rows]
            title = f"{title}, {content['dataset']['name']}: {device}, {hardware['cores']} cores"
            plots.bars(out / f"{name}.png", bars, "images/s", title, colours)


def _feed(rows: Rows) -> list[tuple[str, float, bool]]:
    """Label, speed and whether it is ours: our loaders with the most threads, and the others."""
    most = max((row["threads"] for row in rows if "threads" in row), default=0)
    found = []
    for row in rows:
        if "loader" in row:
            found.append((row["loader"], row["images_per_s"], False))
        elif row.get("threads") == most:
            decode = f", decode {row['decode']}" if row["store"] in ("files", "jpeg") else ""
            found.append((f"{row['store']}, {row['engine']}{decode}", row["images_per_s"], True))
    return found


def _compute(rows: Rows) -> list[tuple[str, float, bool]]:
    return [
        (
            f"{row['batch_size']}, {row['dtype']}, {'channels-last' if row['channels_last'] else 'contiguous'}, "
            f"{row['compile']}",
            row["images_per_s"],
            True,
        )
        for row in rows
    ]
