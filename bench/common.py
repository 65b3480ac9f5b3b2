"""What the measurements share: how a command ends, what its results say of the machine, and Markdown tables."""

import functools
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec

import torch

from feedline.pipeline.errors import FeedlineError, as_flags
from feedline.training.meter import hardware, versions

P = ParamSpec("P")


def command(name: str, *, stopped: str = "") -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Decorates `main`: an error in the input is one line, and exit status 2.

    Args:
        name: what the line starts with, as `bench.doors`.
        stopped: the line after Ctrl-C, with exit status 130; without it Ctrl-C is nothing special.
    """

    def decorate(main: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except FeedlineError as error:
                line, status = as_flags(error), 2
            except KeyboardInterrupt:
                if not stopped:
                    raise
                line, status = stopped, 130
            print(f"{name}: {line}", file=sys.stderr)
            return status

        return run

    return decorate


def command_line(name: str, argv: Sequence[str] | None) -> str:
    """How a measurement was started: `python -m bench.doors --rounds 3`.

    Args:
        name: as `bench.doors`.
        argv: its arguments; None for the process's.
    """
    return f"python -m {shlex.join([name, *(sys.argv[1:] if argv is None else argv)])}"


def about(name: str, argv: Sequence[str] | None) -> dict[str, Any]:
    """What the results of a measurement on the CPU begin with: command, hardware and versions."""
    machine = hardware(torch.device("cpu"))
    return {"command": command_line(name, argv), "hardware": machine, "versions": versions()}


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
