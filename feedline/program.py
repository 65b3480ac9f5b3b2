"""What the commands are called here: in a checkout some are scripts."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NoReturn

from feedline.output import one_line
from feedline.pipeline.errors import FeedlineError, as_flags, did_you_mean

# {command: (its module, which has `main` and `parser`; what it does)}
COMMANDS = {
    "convert": ("feedline.convert.build", "write a dataset folder: download, check, split, pack"),
    "train": ("feedline.cli.main", "find a learning rate, train, evaluate, measure"),
    "verify": ("feedline.convert.verify", "say whether a dataset folder is as it was built"),
    "verify-export": ("feedline.use.verify", "say whether an exported network answers as it did"),
    "compare": ("feedline.cli.compare", "say whether two runs saw the same images at every step"),
    "completion": ("feedline.completion", "print completion for bash, zsh or tcsh"),
}
_SCRIPTS = {"train": "train.py", "convert": "convert/build.py"}

_own = ""  # a script of the user's with a network of its own


def use_script(own: bool) -> None:
    """Names the script that was started in commands of training, if it is one of the user's own, with its network."""
    global _own
    started = Path(sys.argv[0] if sys.argv else "")
    known = {"__main__.py", *(Path(script).name for script in _SCRIPTS.values())}
    _own = str(started) if own and started.suffix == ".py" and started.name not in known else ""


def command_line(command: str) -> str:
    """How to run a command: `feedline train`, or `python train.py` in a checkout.

    Args:
        command: as in `feedline COMMAND`; empty for `feedline` itself.
    """
    started = _started_as()
    if _own and command == "train":
        return f"python {shlex.quote(_own)}"
    if not started and command in _SCRIPTS:
        return f"python {shlex.quote(str(_checkout() / _SCRIPTS[command]))}"
    return f"{started or 'python -m feedline'} {command}".rstrip()


def short_name(command: str) -> str:
    """What error lines start with: `feedline train`, or `train.py` in a checkout."""
    if _own and command == "train":
        return Path(_own).name
    if command in _SCRIPTS and not _started_as():
        return Path(_SCRIPTS[command]).name
    return f"feedline {command}".rstrip()


def fail(command: str, error: FeedlineError | str, status: int = 2) -> int:
    """Says in one line on stderr why a command ends, with its rank if it is not 0; returns the exit status."""
    rank = os.environ.get("RANK", "0")
    name = short_name(command) + (f" (rank {rank})" if rank != "0" else "")
    text = as_flags(error) if isinstance(error, FeedlineError) else error
    print(f"{name}: {one_line(text)}", file=sys.stderr)
    return status


def _started_as() -> str:
    """`feedline`, `python -m feedline`, or nothing for a script of the checkout."""
    path, package = Path(sys.argv[0] if sys.argv else ""), Path(__file__).parent
    if path.name == "__main__.py" and path.parent.name == "feedline":
        return "python -m feedline"
    in_checkout = (package / "convert").is_symlink()  # an installation holds copies of the rooms
    return "" if in_checkout and path.stem != "feedline" else "feedline"


def _checkout() -> Path:
    """The folder of the scripts, as it was named: of `../train.py` it is `..`."""
    named = Path(sys.argv[0] if sys.argv else "")
    script = Path(os.path.abspath(named))  # noqa: PTH100  without following links
    for known in _SCRIPTS.values():
        parts = Path(known).parts
        if script.parts[-len(parts) :] == parts:
            root = script.parents[len(parts) - 1]
            return root if named.is_absolute() and root != Path.cwd() else Path(os.path.relpath(root))
    return Path()


NOT_THE_NETWORK = ("--model", "--arch")  # flags of other trainers; nearest here is --mode


def unknown_word(words: Iterable[str], flags: Collection[str]) -> str:
    """What is wrong with words that are no part of a command line: the first, and the flag that it may have meant."""
    word = next(iter(words))
    if not word.startswith("-"):
        flag = next((flag for flag in _flags_of(word) if flag in flags), None)
        meant = f"; did you mean {flag} {shlex.quote(word)}?" if flag else ""
        return f"{word or repr(word)}: is not the value of a flag{meant}"
    name = word.partition("=")[0]
    if name in NOT_THE_NETWORK and "--mode" in flags:
        return (
            f"{name}: the network is ResNet18; others train in a loop of your own with the Loader, see docs/loader.md"
        )
    meant = did_you_mean(name, [flag for flag in flags if flag.startswith("--")])
    return f"{name}: there is no such flag{meant or '; see --help'}"


def _flags_of(word: str) -> tuple[str, ...]:
    """The flags that may be meant by a word without one: the name of a file or folder, or `data=folder`."""
    if not word or (re.match(r"\w+=", word) and not os.path.exists(word)):  # noqa: PTH110  a name may be too long
        return ()
    path, folder = Path(word), os.path.isdir(word)  # noqa: PTH112
    if path.suffix == ".pt" and not folder:
        return ("--checkpoint", "--resume" if path.name in ("last.pt", "previous.pt") else "--init")
    if folder and any(path.glob("*.pt")):
        return ("--checkpoint", "--resume")
    return ("--source", *(["--data"] if folder else []))


def with_choice_meant(message: str) -> str:
    """An error of argparse; if it is about a value that is none of the choices, with the one that was meant."""
    found = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)$", message)
    if not found:
        return message
    choices = [word.strip("'") for word in found[2].split(", ")]
    return f"{message}{did_you_mean(found[1], choices)}"


class Parser(argparse.ArgumentParser):
    """The flags of a command. What is wrong with them is said in one line, as all errors are.

    Args:
        command: as in `feedline COMMAND`; empty for `feedline` itself.
        description: what it does.
        **options: of argparse.
    """

    def __init__(self, command: str, description: str, **options: Any) -> None:
        super().__init__(prog=command_line(command), description=description, **options)
        self._command = command

    def error(self, message: str) -> NoReturn:
        text = with_choice_meant(message.removeprefix("argument "))
        more = "" if "did you mean" in text or "see --help" in text else "; --help lists the flags"
        self.exit(fail(self._command, f"{text}{more}"))

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's; unknown flags are named with those that may have been meant."""
        parsed, rest = self.parse_known_args(args, namespace)
        if rest:
            self.error(unknown_word(rest, self._option_string_actions))
        return parsed
