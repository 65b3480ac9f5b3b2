"""feedline completion: prints what makes a shell complete commands and flags. shtab writes it."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from feedline.output import safe_output
from feedline.program import Parser, short_name

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
    with safe_output() as ending:
        return ending.status(_main(parser().parse_args(argv).shell))


def _main(shell: str) -> int:
    try:
        import shtab
    except ImportError:
        print(f"{short_name(NAME)}: needs the package shtab: pip install 'feedline[completion]'", file=sys.stderr)
        return 2
    print(shtab.complete(_whole(shtab.FILE), shell))
    return 0


def _whole(file: Any) -> argparse.ArgumentParser:
    """All commands with their flags; those that take files are completed with files."""
    from feedline.cli import compare
    from feedline.cli import parser as train
    from feedline.convert import build, verify
    from feedline.use import verify as verify_export

    commands: dict[str, argparse.ArgumentParser] = {
        NAME: parser(),
        "convert": build.parser(),
        "train": train.parser(),
        "verify": verify.parser(),
        "verify-export": verify_export.parser(),
        "compare": compare.parser(),
    }
    p = argparse.ArgumentParser(prog="feedline")
    names = p.add_subparsers()
    for name, command in commands.items():
        for action in command._actions:
            if action.dest in FILES:
                action.complete = file  # type: ignore[attr-defined]
        names.add_parser(name, parents=[command], add_help=False, help=name)  # shtab skips those without help
    return p
