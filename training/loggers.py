"""Loggers: a hook for people's own dashboards. docs/reports.md shows some."""

import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.errors import InputError, first_line
from feedline.training.stopping import Interrupted

logger = logging.getLogger(__name__)

METHODS = ("start", "log", "end")
# What a record of log.jsonl has under another name here: of steps, and of epochs.
NAMES = {
    "loss": "loss/train",
    "top1": "top1/train",
    "lr": "lr",
    "images_per_s_last": "images/s",
    "stall": "stall",
    "val_loss": "loss/val",
    "val_top1": "top1/val",
    "val_top5": "top5/val",
    "val_balanced": "balanced/val",
    "val_macro_f1": "macro_f1/val",
}


class Logger(Protocol):
    """What `--logger module:Class` names. The class is called without arguments, on rank 0 only.

    It may also have `image(step, name, pixels)`, with pixels uint8 [height, width, 3]: a grid of training images, once
    at the start of a new run.
    """

    def start(self, config: Mapping[str, Any], out: Path, step: int) -> None:
        """Called once before the first step.

        Args:
            config: all settings, and the name of the recipe.
            out: the run folder.
            step: steps that the run has done: 0, or where it is resumed. What was logged of later steps is void.
        """

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Called on log steps and after evaluations, each step with a higher number than before or the same.

        Args:
            step: steps since the start of the run.
            metrics: by name, as in `NAMES`; accuracies in percent.
        """

    def end(self, summary: Mapping[str, Any]) -> None:
        """Called once at the end.

        Args:
            summary: as in summary.json; of a run that is not complete only `ended`: `by` (`signal` or `error`), `text`.
        """


class Loggers:
    """The loggers of a run. Their errors are said once each, and end no training."""

    def __init__(self) -> None:
        self._loggers: dict[str, Logger] = {}
        self._failed: set[str] = set()

    def load(self, names: Sequence[str]) -> None:
        """Imports and makes them. Raises InputError if one cannot be made, or lacks a method."""
        self._loggers = {name: _made(name) for name in names}

    def start(self, config: Mapping[str, Any], out: Path, step: int) -> None:
        """Raises InputError if one cannot start: nothing is lost yet, and a run without its log is seen too late."""
        for name, one in self._loggers.items():
            try:
                one.start(config, out, step)
            except Exception as error:
                raise InputError(f"`logger={name}`: cannot start ({_text(error)})") from error

    @property
    def take_images(self) -> bool:
        return any(hasattr(one, "image") for one in self._loggers.values())

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        self._each(lambda one: one.image(step, name, pixels) if hasattr(one, "image") else None)

    def record(self, record: Mapping[str, Any]) -> None:
        """Logs a record of log.jsonl."""
        metrics = {name: record[key] for key, name in NAMES.items() if record.get(key) is not None}
        if "val_top1" in record:  # the row of an epoch: what it has of training, the last step had
            metrics = {name: value for name, value in metrics.items() if name.endswith("/val")}
        if metrics:
            self._each(lambda one: one.log(record["step"], {"epoch": record["epoch"], **metrics}))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ends the loggers where the run ends before its end."""
        try:
            yield
        except Interrupted:
            self.end({"ended": {"by": "signal", "text": "stopped and saved"}})
            raise
        except BaseException as error:
            self.end({"ended": {"by": "error", "text": _text(error)}})
            raise

    def end(self, summary: Mapping[str, Any]) -> None:
        self._each(lambda one: one.end(summary))

    def _each(self, call: Callable[[Any], None]) -> None:
        for name, one in self._loggers.items():
            try:
                call(one)
            except Exception as error:
                if name not in self._failed:
                    logger.warning("warning: logger %s failed, and training goes on (%s)", name, _text(error))
                self._failed.add(name)


def _made(name: str) -> Logger:
    """Imports a class, also from the current folder, and calls it."""
    module, _, kind = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # last: what lies here replaces no installed module
    try:
        made: Logger = getattr(importlib.import_module(module), kind)()
    except InputError:
        raise
    except ModuleNotFoundError as error:
        where = " (looked for in Python's path and the current folder)" if error.name == module else ""
        raise InputError(f"`logger={name}`: there is no module {error.name}{where}") from error
    except AttributeError as error:
        if not hasattr(sys.modules.get(module), kind):
            raise InputError(f"`logger={name}`: module {module} has no {kind}") from error
        raise InputError(f"`logger={name}`: cannot be made ({_text(error)})") from error
    except Exception as error:
        raise InputError(f"`logger={name}`: cannot be made ({_text(error)})") from error
    if missing := [method for method in METHODS if not callable(getattr(made, method, None))]:
        raise InputError(f"`logger={name}`: lacks {', '.join(missing)}; a logger has {', '.join(METHODS)}")
    return made


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {first_line(error)}" if str(error) else type(error).__name__
