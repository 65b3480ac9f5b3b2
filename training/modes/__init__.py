"""The modes of train.py: each builds what it needs from the configuration, runs it, and says what came out."""

from collections.abc import Callable

from feedline.training.modes import bench, evaluate, lrfind, summary, train
from feedline.training.modes.common import Request

MODES: dict[str, Callable[[Request], int]] = {
    "lrfind": lrfind.run,
    "train": train.run,
    "eval": evaluate.run,
    "bench": bench.run,
    "summary": summary.run,
}

__all__ = ["MODES", "Request"]
