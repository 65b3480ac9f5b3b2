"""The results as Markdown tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.common import markdown
from feedline.pipeline.files import write_text


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table with a column for every key of any row, in order of appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return markdown(columns, ([_cell(row.get(column, "")) for column in columns] for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)


def write_tables(out: Path) -> None:
    """Writes ladder.md from the JSON files of all rungs."""
    parts = ["# The ladder\n"]
    for path in sorted(out.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "rung" not in content:
            continue
        where = content["hardware"]
        machine = where.get("gpu", f"{where['cores']} cores of {where['cpu']}, no GPU")
        used = ", ".join(f"{k} {v}" for k, v in content["versions"].items())
        state = "" if content["complete"] else " (not complete)"
        parts.append(f"## {content['rung']}{state}\n\n{machine}; {used}; {content['dataset']['name']}.\n")
        # Rows of one kind have the same keys; each kind is a table.
        kinds: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in content["rows"]:
            kinds.setdefault(tuple(sorted(k for k in row if k != "problem")), []).append(row)
        parts += [table(rows) + "\n" for rows in kinds.values()]
        if "best" in content:
            parts.append("Best: " + ", ".join(f"{k} {_cell(v)}" for k, v in content["best"].items()) + ".\n")
    write_text(out / "ladder.md", "\n".join(parts))
