"""A series: the variants of a recipe, the settings that all share, and the seeds; read from a TOML file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedline.cli.recipes import check_keys, configure, read_toml
from feedline.pipeline.errors import InputError, as_keys
from feedline.training.config import Config

SEEDS = (0, 1, 2)
NAME = re.compile(r"\w[\w.+=-]*")  # also the name of a folder


@dataclass(frozen=True)
class Variant:
    """A recipe with some settings.

    Attributes:
        name: of the variant and its folder.
        changes: the settings that differ from those of the series, by field.
        settings: all settings, those of the series too.
        recipe: what the settings change.
        note: what it tries, for the table.
    """

    name: str
    changes: Mapping[str, Any]
    settings: Mapping[str, Any]
    recipe: str = "default"
    note: str = ""

    def config(self, seed: int) -> Config:
        """The configuration of a run. Raises InputError if a value cannot be used."""
        return configure(self.recipe, {**self.settings, "seed": seed})


@dataclass(frozen=True)
class Series:
    """Variants to compare.

    Attributes:
        name: the file's stem; the table's name on a page.
        base: the settings that all variants share, by field.
        variants: the first is what the others are compared with.
        seeds: of the runs of each variant.
    """

    name: str
    base: Mapping[str, Any]
    variants: Sequence[Variant]
    seeds: Sequence[int] = SEEDS


def read_series(path: Path) -> Series:
    """Reads a series.

    Args:
        path: a TOML file with `seeds`, a table `base` and tables `variant`; keys are spelled as in recipes.

    Raises:
        InputError: if the file cannot be read, or a key or value cannot be used.
    """
    try:
        content = read_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if unknown := content.keys() - {"seeds", "base", "variant"}:
        raise InputError(f"{path}: unknown key {min(unknown)!r}; there are seeds, [base] and [[variant]]")
    base, tables = content.get("base", {}), content.get("variant", [])
    if not isinstance(base, dict) or not isinstance(tables, list) or not tables:
        raise InputError(f"{path}: needs a table [base] and at least one [[variant]]")
    shared = _settings(base, f"{path}, [base]")
    variants = [_variant(table, base, path) for table in tables]
    names = [variant.name for variant in variants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"{path}, variant {min(twice)}: two variants have this name")
    return Series(path.stem, shared, variants, parse_seeds(content.get("seeds", SEEDS), str(path)))


def _variant(table: Mapping[str, Any], base: Mapping[str, Any], path: Path) -> Variant:
    name = table.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InputError(f"{path}: a [[variant]] needs a name of letters, digits and . + = - _, not {name!r}")
    where = f"{path}, variant {name}"
    changes = {key: value for key, value in table.items() if key not in ("name", "note")}
    together = {**base, **changes}
    recipe = str(together.get("recipe", "default"))
    settings = _settings(together, where)
    try:
        configure(recipe, settings)
    except InputError as error:
        raise InputError(f"{where}: {as_keys(error)}") from error
    return Variant(name, _settings(changes, where), settings, recipe, str(table.get("note", "")))


def _settings(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The recipe keys of a table, by field."""
    if "seed" in table:
        raise InputError(f"{where}: seed is not a setting here; give the list seeds at the top")
    return check_keys({key: value for key, value in table.items() if key != "recipe"}, where)


def parse_seeds(value: Any, where: str) -> tuple[int, ...]:
    """The seeds from a TOML list or text as `0,1,2`. Raises InputError, starting with `where`, if they are none."""
    try:
        parts = value.split(",") if isinstance(value, str) else value
        seeds = tuple(int(part) for part in parts)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: seeds {value!r}: must be whole numbers, as 0,1,2") from error
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: seeds {value!r}: must be different numbers of at least 0")
    return seeds
