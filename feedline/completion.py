"""feedline completion: prints what makes a shell complete commands and flags. shtab writes it."""

import argparse
import importlib
from collections.abc import Sequence
from typing import Any

from feedline.program import COMMANDS, Parser, fail

SHELLS = ("bash", "zsh", "tcsh")
NAME = "completion"
FILES = (
    *("data", "source", "out", "resume", "checkpoint", "recipe", "init", "probes"),
    *("folder", "files", "runs", "labels", "classes_file"),
)


def parser() -> Parser:
    """The command line."""
    p = Parser(
        NAME,
        "Prints completion for a shell, as in: feedline completion bash > "
        "~/.local/share/bash-completion/completions/feedline",
    )
    p.add_argument("shell", choices=SHELLS)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""
    shell = parser().parse_args(argv).shell
    try:
        import shtab
    except ImportError:
        return fail(NAME, "needs the package shtab: pip install 'feedline[completion]'")
    print(shtab.complete(_whole(shtab.FILE), shell))
    return 0


def _whole(file: Any) -> argparse.ArgumentParser:
    """All commands with their flags; those that take files are completed with files."""
    p = argparse.ArgumentParser(prog="feedline")
    names = p.add_subparsers()
    for name, (module, _) in COMMANDS.items():
        command = importlib.import_module(module).parser()
        for action in command._actions:
            if action.dest in FILES:
                action.complete = file
        names.add_parser(name, parents=[command], add_help=False, help=name)  # shtab skips those without help
    return p
