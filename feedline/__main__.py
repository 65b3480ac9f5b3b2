"""feedline, or python -m feedline: the commands of an installed Feedline."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from feedline import __version__
from feedline.imports import without_collecting
from feedline.output import safe_output
from feedline.program import COMMANDS, Parser
from feedline.training.stopping import until_exit


def parser() -> Parser:
    """The command's name; the arguments after it are the command's."""
    listing = "\n".join(f"  {name:<14} {what}" for name, (_, what) in COMMANDS.items())
    p = Parser(
        "",
        f"commands (COMMAND --help lists its flags):\n{listing}",
        usage="feedline [--help] [--version] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"feedline {__version__}")
    p.add_argument("command", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `feedline COMMAND ...`. Only the command that is run is imported: --version needs no torch."""
    if argv is None:
        return until_exit(lambda: main(sys.argv[1:]), "feedline")
    with safe_output() as ending:
        return ending.status(_run(list(argv)))


def _run(words: list[str]) -> int:
    command = parser().parse_args(words[:1]).command
    with without_collecting():
        module = importlib.import_module(COMMANDS[command][0])
    status: int = module.main(words[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
