"""Flags: one for every key of a configuration."""

import argparse
from collections.abc import Mapping
from typing import Any

from feedline.cli.recipes import OF_ITS_SET, configure
from feedline.output import setting, spelled
from feedline.pipeline.augment.old_keys import OLD_KEYS
from feedline.pipeline.kinds import alternatives
from feedline.training.keys import OTHER_NAMES, convert_known, keys

HELP = {"crop": "the crop in", "padding": "the padding of the crop in", "flip": "puts flip into, or takes it out of,"}
TITLES = {"loader": "loader", "model": "model", "optim": "optimisation", "mix": "mixing", "run": "run"}


def add_flags(parser: argparse.ArgumentParser, recipe: str = "default") -> None:
    """Adds a flag for every key, with the recipe's value in its help. Flags that are not given do not appear in what
    is parsed.

    Raises:
        InputError: if there is no such recipe, or it cannot be used.
    """
    values = configure(recipe, {}).flat()
    groups = {section: parser.add_argument_group(title) for section, title in TITLES.items()}
    for section, hint, field in keys():
        # Ours are used on other sets too; a file is the user's own.
        value = field.default if field.name in OF_ITS_SET and not recipe.endswith(".toml") else values[field.name]
        help = (field.metadata["help"] + _shown(value)).replace("%", "%%")
        options: dict[str, Any] = {"dest": field.name, "default": argparse.SUPPRESS, "help": help}
        kinds, words = alternatives(hint)
        if kinds[:1] == [bool] and not words:
            options["action"] = argparse.BooleanOptionalAction
        elif words and kinds in ([], [bool]):
            options["choices"] = words
        else:
            options["metavar"] = field.name.upper()
        others = other_flags(field.name)
        action = groups[section].add_argument(flag(field.name), *others, **options)
        if others:
            action.option_strings = [flag(field.name)]  # what help and errors call it
    _add_old_flags(groups["loader"])


def _add_old_flags(group: "argparse._ArgumentGroup") -> None:
    """Adds the flags that --augment replaced. They change the recipe's list."""
    for name, hint in OLD_KEYS.items():
        options: dict[str, Any] = {
            "dest": name,
            "default": argparse.SUPPRESS,
            "help": f"old flag: {HELP[name]} --augment",
        }
        if hint is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif words := alternatives(hint)[1]:
            options["choices"] = words
        else:
            options["metavar"] = name.upper()
        group.add_argument(flag(name), **options)


def _shown(value: Any) -> str:
    """A recipe's value, as the help shows it."""
    return "" if value is None else f" ({setting(value)})"


def flag(name: str) -> str:
    """The flag of a key: `--batch-size` for `batch_size`."""
    return "--" + spelled(name)


def other_flags(name: str) -> list[str]:
    """A key's flags in other programs: `--lr` for `max_lr`."""
    return [("-" if len(other) == 1 else "--") + other for other in OTHER_NAMES.get(name, ())]


def given_values(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that were given, converted. Raises InputError if a value is of another type."""
    return convert_known(flags)


def as_words(flags: Mapping[str, Any]) -> list[str]:
    """Writes flags as on a command line."""
    words = []
    for name, value in flags.items():
        if isinstance(value, bool):
            words.append(flag(name) if value else flag(f"no_{name}"))
        elif isinstance(value, (list, tuple)):
            words += [flag(name), ",".join(map(str, value))]
        else:
            words += [flag(name), str(value)]
    return words
