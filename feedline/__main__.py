"""feedline, or python -m feedline: the commands of an installed Feedline."""

import argparse
import sys
from collections.abc import Sequence

from feedline import __version__
from feedline.imports import without_collecting
from feedline.output import safe_output
from feedline.program import Parser
from feedline.training.stopping import until_exit

COMMANDS = {
    "convert": "write a dataset folder: download, check, split, pack",
    "train": "find a learning rate, train, evaluate, measure",
    "verify": "say whether a dataset folder is as it was built",
    "verify-export": "say whether an exported network answers as it did",
    "compare": "say whether two runs saw the same images at every step",
    "completion": "print completion for bash, zsh or tcsh",
}


def parser() -> Parser:
    """The command's name; the arguments after it are the command's."""
    listing = "\n".join(f"  {name:<14} {what}" for name, what in COMMANDS.items())
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
    if command == "convert":
        from feedline.convert.build import main as convert

        return convert(words[1:])
    if command == "verify":
        from feedline.convert.verify import main as verify

        return verify(words[1:])
    if command == "verify-export":
        from feedline.use.verify import main as verify_export

        return verify_export(words[1:])
    if command == "compare":
        from feedline.cli.compare import main as compare

        return compare(words[1:])
    if command == "completion":
        from feedline.completion import main as completion

        return completion(words[1:])
    with without_collecting():
        from feedline.cli.main import main as train

    return train(words[1:])


if __name__ == "__main__":
    sys.exit(main())
