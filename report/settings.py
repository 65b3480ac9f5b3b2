"""The settings of a run, its software and machine, and the command that repeats it."""

from collections.abc import Mapping
from typing import Any

from feedline.output import counted, setting, spelled
from feedline.report.page import Section, Table, facts


def settings_section(about: Mapping[str, Any], command: str = "", recipe: Mapping[str, Any] | None = None) -> Section:
    """All settings, those first that differ from the recipe.

    Args:
        about: run.json, summary.json or eval.json.
        command: that made it.
        recipe: its values, None if they are not known.
    """
    config, recipe = about.get("config", {}), recipe or {}
    changed = {
        name: value for name, value in config.items() if name in recipe and setting(value) != setting(recipe[name])
    }
    tables = []
    if changed:
        rows = [(spelled(name), setting(value), setting(recipe[name])) for name, value in changed.items()]
        tables.append(Table(("changed", "value", "of the recipe"), rows))
    if config:
        tables.append(Table(("setting", "value"), [(spelled(name), setting(value)) for name, value in config.items()]))
    tables.append(facts([*about.get("hardware", {}).items(), *about.get("versions", {}).items()]))
    return Section("Settings", tables=tables, code=command, folded=True)


def machine(hardware: Mapping[str, Any]) -> str:
    """The machine in words: its GPU, else its cores."""
    cores, cpu = hardware.get("cores"), hardware.get("cpu", "an unknown CPU")
    named: str = hardware.get("gpu") or (f"{counted(cores, 'core')} of {cpu}" if cores else cpu)
    return named
