"""The command: parses, runs a mode, prints errors in one line."""

import contextlib
import logging
import shlex
import signal
import sys
from collections.abc import Sequence

from feedline.cli.claim import Claims
from feedline.cli.modes import MODES
from feedline.cli.parser import parse, parser
from feedline.cli.request import Request
from feedline.cli.usage import check_mode
from feedline.console import print_result, speaking
from feedline.model import resnet18
from feedline.output import safe_output
from feedline.pipeline.errors import FeedlineError, name_errors
from feedline.program import command_line, fail, use_script
from feedline.training.network import Network
from feedline.training.ranks import FirstRankError, joined
from feedline.training.space import disk_errors
from feedline.training.stopping import interrupt_on_signal

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None, *, network: Network = resnet18) -> int:
    """Runs the command.

    Args:
        argv: the arguments (default: the process's).
        network: builds the model: number of classes -> float [B, 3, height, width] to logits [B, classes]. It may
            take the options of the model (`drop_path`, ...) as keywords; only those that are set are passed.

    Returns:
        The exit status: 0; 1 if the output could not be written; 2 after an error that was printed in one line; 128 +
        the signal for a run that was stopped.
    """
    use_script(own=network is not resnet18)
    with safe_output() as ending:
        return ending.status(_run(sys.argv[1:] if argv is None else list(argv), network))


def _run(argv: list[str], network: Network) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command, claims = f"{command_line('train')} {shlex.join(argv)}", Claims()
    try:
        mode, options, flags = parse(argv)
        check_mode(mode, [*options, *flags])
        with interrupt_on_signal(), joined() as ranks, contextlib.closing(claims), disk_errors(), name_errors():
            request = Request(
                mode=mode, flags=flags, command=command, network=network, ranks=ranks, claims=claims, **options
            )
            # Only rank 0 speaks.
            with speaking(quiet=request.quiet or not ranks.is_first, json=request.json and ranks.is_first):
                status = MODES[mode](request)
            if request.json and request.results:
                print_result({"mode": mode, **request.results})
            return status
    except FirstRankError:
        return 2
    except FeedlineError as error:
        return fail("train", error)
    except KeyboardInterrupt as error:
        return fail("train", "interrupted", 128 + (error.args[0] if error.args else signal.SIGINT))
