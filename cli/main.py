"""The command: parses, runs a mode, prints errors in one line."""

import argparse
import contextlib
import logging
import os
import shlex
import signal
import sys
from collections.abc import Sequence

from feedline.cli.claim import Claims
from feedline.cli.flags import add_flags
from feedline.cli.modes import MODES
from feedline.cli.request import Network, Request
from feedline.model import resnet18
from feedline.output import one_line, safe_output
from feedline.pipeline.errors import FeedlineError, as_flags
from feedline.program import command_line, short_name
from feedline.training.ranks import FirstRankError, joined
from feedline.training.stopping import interrupt_on_signal


def parser() -> argparse.ArgumentParser:
    """The command line: the mode and its options, then a flag for every key of a recipe."""
    p = argparse.ArgumentParser(
        prog=command_line("train"),
        description="Train an image classifier on a dataset that convert/build.py wrote. Values in parentheses are "
        "from recipes/default.toml. Another --recipe may have other values. A flag overrides the recipe.",
    )
    p.add_argument("--mode", choices=list(MODES), required=True, help="what to do")
    p.add_argument("--recipe", help="name of a file in recipes/, or a .toml file (default: default)")
    p.add_argument("--out", help="folder for the results (default: runs/<mode>-<time>)")
    p.add_argument(
        "--resume", nargs="?", const="latest", metavar="RUN", help="train: resume a run (default: the latest one)"
    )
    p.add_argument(
        "--checkpoint", metavar="FILE", help="eval: the checkpoint (default: best.pt of the latest run on this dataset)"
    )
    p.add_argument(
        "--part", choices=("val", "test"), default="val", help="eval: the part to evaluate on (default: val)"
    )
    p.add_argument("--start-lr", type=float, help="lrfind: the first learning rate (default: --end-lr / 100,000)")
    p.add_argument(
        "--end-lr", type=float, help="lrfind: the last learning rate (default: 10; 0.1 for adam and adamw, 2 for muon)"
    )
    p.add_argument("--rounds", type=int, default=5, help="bench: rounds of each measurement (default: 5)")
    p.add_argument("--seconds", type=float, default=2.0, help="bench: minimum length of a round (default: 2)")
    add_flags(p)
    return p


OPTIONS = ("recipe", "out", "resume", "checkpoint", "part", "start_lr", "end_lr", "rounds", "seconds")


def main(argv: Sequence[str] | None = None, *, network: Network = resnet18) -> int:
    """Runs the command.

    Args:
        argv: the arguments (default: the process's).
        network: builds the model: number of classes -> float [B, 3, height, width] to logits [B, classes]. It may
            take the options of the model (`drop_path`, ...) as keywords; only those that are set are passed.

    Returns:
        The exit status: 0; 2 after an error that was printed in one line; 128 + the signal for a run that was stopped.
    """
    with safe_output():
        return _run(sys.argv[1:] if argv is None else list(argv), network)


def _run(argv: list[str], network: Network) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    args = vars(parser().parse_args(argv))
    mode, options = args.pop("mode"), {name: args.pop(name) for name in OPTIONS}
    command, claims = f"{command_line('train')} {shlex.join(argv)}", Claims()
    try:
        with interrupt_on_signal(), joined() as ranks, contextlib.closing(claims):
            request = Request(
                mode=mode, flags=args, command=command, network=network, ranks=ranks, claims=claims, **options
            )
            return MODES[mode](request)
    except FirstRankError:
        return 2
    except FeedlineError as error:
        return _fail(as_flags(error), 2)
    except KeyboardInterrupt as error:
        return _fail("interrupted", 128 + (error.args[0] if error.args else signal.SIGINT))


def _fail(message: str, status: int) -> int:
    print(f"{_speaker()}: {one_line(message)}", file=sys.stderr)
    return status


def _speaker() -> str:
    """What error lines start with: the program, and the rank if it is not 0."""
    rank = os.environ.get("RANK", "0")
    return short_name("train") if rank == "0" else f"{short_name('train')} (rank {rank})"
