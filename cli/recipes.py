"""Recipes: TOML files with a value for some of the keys."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedline.output import spelled
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError, as_keys, did_you_mean
from feedline.program import command_line
from feedline.training.config import Config
from feedline.training.keys import OTHER_NAMES, convert, convert_known, key_types

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
MADE_FOR = "made-for"  # the key that names the dataset for which a recipe was made; it is no flag
OF_ITS_SET = ("split", "stem", "target")  # keys that say nothing about another dataset


def read_recipe(name: str, dataset: Dataset | None = None) -> dict[str, Any]:
    """Reads the values of a recipe.

    Args:
        name: of a file in recipes/, or a .toml file.
        dataset: what it will be used on: where the recipe was made for another set, the keys that say nothing about
            this one are left out. None for all keys.

    Raises:
        InputError: if there is no such file, it is not TOML, or it has an unknown key or a wrong value.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        content = read_toml(path)
    except FileNotFoundError as error:
        known = sorted(p.stem for p in RECIPES.glob("*.toml"))
        meant = f"; did you mean {path.stem}?" if path.stem in known else did_you_mean(name, [*known, *_near(path)])
        there = f"there are {', '.join(known)}, or give a .toml file"
        raise InputError(f"`recipe={name}`: no such recipe{meant or f'; {there}'}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"`recipe={name}`: {path} cannot be read ({error})") from error
    made_for = content.pop(MADE_FOR, None)
    if not isinstance(made_for, str | None):
        raise InputError(f"{path}: {MADE_FOR} = {made_for}: must be the name of a dataset")
    values = check_keys(content, str(path))
    try:
        Config.build(name, values)
    except InputError as error:
        raise InputError(f"{path}: {as_keys(error)}") from error
    if dataset is None or made_for is None or _is(dataset, made_for):
        return values
    # A side to evaluate at without one to train at is meant for the images of its set.
    left_out = OF_ITS_SET if "image_size" in values else (*OF_ITS_SET, "eval_size")
    return {key: value for key, value in values.items() if key not in left_out}


def own_keys(recipe: str | None, dataset: Dataset) -> set[str]:
    """The keys of a recipe file that was made for a dataset: they are meant for it, as flags are."""
    if recipe is None or not recipe.endswith(".toml"):
        return set()
    content = read_toml(Path(recipe))
    return {key.replace("-", "_") for key in content} if _is(dataset, content.get(MADE_FOR, "")) else set()


def _near(path: Path) -> list[str]:
    """The recipes in the folder of a file."""
    return list(map(str, path.parent.glob("*.toml")))


def _is(dataset: Dataset, name: str) -> bool:
    """Whether a dataset is the one of that name. Tiny ImageNet is known by its classes too, whatever its name."""
    if dataset.name == name or name != "tiny-imagenet":
        return dataset.name == name
    wordnet = all(re.fullmatch(r"n\d{8}", c.folder) for c in dataset.classes)
    return dataset.name == "tiny-imagenet-200" or (
        len(dataset.classes) == 200 and wordnet and dataset.image_size == (64, 64)
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file. Raises OSError, UnicodeDecodeError or tomllib's TOMLDecodeError (a ValueError)."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def check_keys(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values of a TOML table by field, each converted to its key's type.

    Args:
        content: the table; its keys are spelled as in recipes: `batch-size`.
        where: what the message starts with.

    Raises:
        InputError: if a key is unknown or a value is of another type.
    """
    hints, values, see = key_types(), {}, f"; see {command_line('train')} --help"
    for key, value in content.items():
        field = key.replace("-", "_")
        if isinstance(value, Mapping):
            raise InputError(f"{where}: [{key}]: keys stand without a table, as epochs = 50")
        if field not in hints or "_" in key:
            plain = spelled(field).lower()
            ours = next((name for name, others in OTHER_NAMES.items() if plain in others), key)
            meant = did_you_mean(ours, map(spelled, hints))
            raise InputError(f"{where}: unknown key {key!r}{meant or see}")
        try:
            values[field] = convert(field, hints[field], value)
        except InputError as error:
            raise InputError(f"{where}: {as_keys(error)}") from error
    return values


def recipe_name(recipe: str) -> str:
    """The name of a recipe that is named, or given as a file."""
    return Path(recipe).stem if recipe.endswith(".toml") else recipe


def configure(recipe: str, flags: Mapping[str, Any], dataset: Dataset | None = None) -> Config:
    """A recipe with flags on top.

    Args:
        recipe: name or file.
        flags: values by key; text as on the command line is parsed.
        dataset: what it will be used on, see `read_recipe`.

    Raises:
        InputError: if a value cannot be used.
    """
    name, values, given = recipe_name(recipe), read_recipe(recipe, dataset), convert_known(flags)
    try:
        return _build(name, values, given)
    except InputError as error:
        raise _explained(error, name, values, given) from error


def _build(name: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> Config:
    """A recipe's values with those of flags on top."""
    if "augment" in values or "augment" in given:
        return Config.build(name, values).replace(**given)
    return Config.build(name, {**values, **given})  # crop, padding and flip may come from both


def _explained(error: InputError, name: str, values: Mapping[str, Any], given: Mapping[str, Any]) -> InputError:
    """An error that blames a value of the recipe, with the flag that does not go with it; others as they are."""
    blamed = re.match(r"`(\w+)=", error.message)
    if blamed is None or blamed[1] in given or blamed[1] not in values:
        return error
    for flag, value in given.items():
        try:
            _build(name, values, {flag: value})
        except InputError as alone:
            if alone.message == error.message:
                return InputError(
                    f"`{flag}={value}`: does not go with recipe {name}, in which {as_keys(error)}; give "
                    f"`{blamed[1]}` too"
                )
    return error
