"""The modes: each builds what it needs from the configuration, runs it, and prints the result."""

from collections.abc import Callable

from feedline.cli.modes import bench, compare, evaluate, export, lrfind, peek, predict, summary, train
from feedline.cli.request import Request

MODES: dict[str, Callable[[Request], int]] = {
    "lrfind": lrfind.run,
    "train": train.run,
    "eval": evaluate.run,
    "bench": bench.run,
    "peek": peek.run,
    "summary": summary.run,
    "predict": predict.run,
    "export": export.run,
    "compare": compare.run,
}

__all__ = ["MODES"]
