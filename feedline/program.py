"""What the commands are called here: in a checkout some are scripts."""

import argparse
import sys
from pathlib import Path
from typing import Any, NoReturn

from feedline.output import one_line

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

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{short_name(self._command)}: {one_line(message)}; --help lists the flags\n")
