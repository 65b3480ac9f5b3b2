"""What the commands are called here: in a checkout some are scripts."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from feedline.output import one_line
from feedline.pipeline.errors import did_you_mean

_SCRIPTS = {"train": "train.py", "convert": "convert/build.py"}


def command_line(command: str) -> str:
    """How to run a command: `feedline train`, or `python train.py` in a checkout.

    Args:
        command: as in `feedline COMMAND`.
    """
    started = _started_as()
    if not started and command in _SCRIPTS:
        return f"python {_SCRIPTS[command]}"
    return f"{started or 'python -m feedline'} {command}"


def short_name(command: str) -> str:
    """What error lines start with: `feedline train`, or `train.py` in a checkout."""
    return f"feedline {command}" if _started_as() or command not in _SCRIPTS else Path(_SCRIPTS[command]).name


def _started_as() -> str:
    """`feedline`, `python -m feedline`, or nothing for a script of the checkout."""
    path, package = Path(sys.argv[0] if sys.argv else ""), Path(__file__).parent
    if path.name == "__main__.py" and path.parent.name == "feedline":
        return "python -m feedline"
    in_checkout = (package / "convert").is_symlink()  # an installation holds copies of the rooms
    return "" if in_checkout and path.stem != "feedline" else "feedline"


class Parser(argparse.ArgumentParser):
    """The flags of a command. What is wrong with them is said in one line, as all errors are.

    Args:
        command: as in `feedline COMMAND`.
        description: what it does.
        **options: of argparse.
    """

    def __init__(self, command: str, description: str, **options: Any) -> None:
        super().__init__(prog=command_line(command), description=description, **options)
        self._command = command

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does, but an unknown flag is named with the one that it may have meant."""
        parsed, words = self.parse_known_args(args, namespace)
        if words:
            self._refuse(unknown_flag(words, self._option_string_actions))
        return parsed

    def error(self, message: str) -> NoReturn:
        self._refuse(f"{message.removeprefix('argument ')}; --help lists the flags")

    def _refuse(self, line: str) -> NoReturn:
        self.exit(2, f"{short_name(self._command)}: {one_line(line)}\n")


def unknown_flag(words: Sequence[str], known: Iterable[str]) -> str:
    """What is wrong with words of which no flag is made: the first, and the flag that it may have meant."""
    name, _, _ = words[0].partition("=")
    if not name.startswith("-"):
        return f"{words[0]}: is not the value of a flag"
    flags = [flag for flag in known if flag.startswith("--")]
    return f"{name}: there is no such flag{did_you_mean(name, flags) or '; see --help'}"
