"""Imports point one way, without a circle; a line that breaks the rule is named."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("pipeline", "model", "training", "report", "use", "cli", "convert")

# What a room may import of the others; a trailing dot or a full name narrows it.
ALLOWED: dict[str, tuple[str, ...]] = {
    "model": (),
    "pipeline": (),
    "training": ("pipeline", "model"),
    "report": (
        "training.best",
        "training.class_figures",
        "training.lr_curve",
        "training.plots",
        "training.predictions",
        "training.recorded",
        "pipeline.dataset",
        "pipeline.files",
    ),
    "use": ("training", "pipeline", "model", "convert.layouts.taken", "convert.trees"),
    "cli": ("training", "pipeline", "model", "report", "use"),
    "convert": ("pipeline.dataset", "pipeline.cores", "pipeline.errors", "pipeline.files"),
}
# The same inside pipeline: the dataset's format and the plan are at the bottom, the loader is the door.
ALLOWED_IN_PIPELINE: dict[str, tuple[str, ...]] = {
    "dataset": ("errors", "files", "compiled"),
    "plan": ("errors", "compiled"),
    "augment": ("plan", "errors"),
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files() -> dict[str, Path]:
    """Modules of the rooms by name, as `pipeline.plan.draw`."""
    return {module_name(path): path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every import in a file, also inside functions: the line, and the dotted name of what is imported."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in allowed)


def test_rooms_import_what_lies_below_them() -> None:
    wrong = []
    for module, path in files().items():
        room = module.split(".")[0]
        for line, name in imports(path):
            first, _, rest = name.partition(".")
            where = f"{path.relative_to(ROOT)}:{line} imports {name}"
            if first in (*ROOMS, "bench", "tests", "train"):
                wrong.append(f"{where}: say feedline.{first}, or leave it out")
            other = rest.split(".")[0]
            if first == "feedline" and other in ROOMS and other != room and not within(rest, ALLOWED[room]):
                wrong.append(f"{where}: {room} may import {', '.join(ALLOWED[room]) or 'no other room'}")
    assert not wrong, "\n".join(wrong)


def test_rooms_of_the_pipeline_import_what_lies_below_them() -> None:
    wrong = []
    for module, path in files().items():
        place = module.split(".")
        if place[0] != "pipeline" or len(place) < 2 or place[1] not in ALLOWED_IN_PIPELINE:
            continue
        allowed = ALLOWED_IN_PIPELINE[place[1]]
        for line, name in imports(path):
            inner = name.removeprefix("feedline.pipeline.")
            if inner != name and not within(inner, (place[1], *allowed)):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}: may import {', '.join(allowed)}")
    assert not wrong, "\n".join(wrong)


def test_dali_is_seen_in_its_engine_only() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for module, path in files().items()
        for line, name in imports(path)
        if name.startswith("nvidia.dali") and not within(module, ("pipeline.engines.dali", "pipeline.augment"))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_of_imports() -> None:
    modules = files()
    graph: dict[str, dict[str, int]] = {}
    for module, path in modules.items():
        graph[module] = {}
        for line, name in imports(path):
            full = name.removeprefix("feedline.")
            target = full if full in modules else full.rpartition(".")[0]
            if name.startswith("feedline.") and target in modules and target != module:
                graph[module].setdefault(target, line)
    trail: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        if module in trail:
            circle = [*trail[trail.index(module) :], module]
            steps = [f"{modules[a].relative_to(ROOT)}:{graph[a][b]}" for a, b in pairwise(circle)]
            pytest.fail(f"a circle of imports: {' -> '.join(circle)} ({', '.join(steps)})")
        if module not in done:
            trail.append(module)
            for target in graph[module]:
                visit(target)
            trail.pop()
            done.add(module)

    for module in graph:
        visit(module)
