"""The reports of a run: lines on the console, run.json, log.jsonl, metrics.csv, curves.png and summary.json."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from feedline.output import counted, duration, speed
from feedline.pipeline.files import write_json
from feedline.pipeline.loader import Loader
from feedline.pipeline.plan.certificate import VERSION
from feedline.progress import Progress
from feedline.training import plots
from feedline.training.best import Measure, of, value
from feedline.training.counts import EpochCounts
from feedline.training.ending import ended, in_words
from feedline.training.forecast import seconds_left
from feedline.training.meter import hardware, peak_memory, versions
from feedline.training.ranks import Ranks
from feedline.training.records import Log, write_csv
from feedline.training.state import TrainState

Record = Mapping[str, Any]
logger = logging.getLogger(__name__)

DRAWN_EVERY = 30.0  # seconds, at least, between two drawings of the curves, which take half of one
BEST: dict[Measure, str] = {"val_top1": "  best", "val_balanced": "  best by balanced accuracy"}  # in a line


class Reporter:
    """Reports on a run. Only rank 0 writes and prints.

    Args:
        state: of the run.
        val: the loader of the val part.
        out: the run folder.
        ranks: the processes of the run.
        on_record: called with each record of log.jsonl after it is written, on every rank.
    """

    def __init__(
        self, state: TrainState, val: Loader, out: Path, ranks: Ranks, on_record: Callable[[Record], None]
    ) -> None:
        self._state, self._train, self._val, self._out = state, state.train, val, out
        self._ranks, self._on_record = ranks, on_record
        keep = self._is_older() if state.global_step else None
        self._log = Log(out / "log.jsonl", keep, write=ranks.is_first)
        if ranks.is_first and self._log.step < (done := state.position.epoch * len(self._train)):
            logger.warning(
                "%s ends at step %d of %d: what is missing is in no curve and no certificate",
                out / "log.jsonl", self._log.step, done,
            )  # fmt: skip
        if ranks.is_first:
            steps = len(self._train) * state.config.optim.epochs
            write_json(out / "run.json", {"certificate": VERSION, "steps": steps, **self._about()})
        self._progress: Progress | None = None
        self._logged = self._began = state.steady  # at the last log line, and when the epoch began or was resumed
        self._drawn, self._to_draw = -math.inf, False
        self.write_history()  # the run may have been interrupted between the last checkpoint and this

    def _is_older(self) -> Callable[[Record], bool]:
        """Says whether a log record is older than the restored state.

        The step alone does not tell: a run that was stopped in the evaluation after the last step of an epoch writes
        the row of that epoch at the same step when it is resumed.
        """
        step, epoch = self._state.global_step, self._state.position.epoch
        return lambda record: record["step"] <= step and ("val_top1" not in record or record["epoch"] <= epoch)

    def start_epoch(self) -> None:
        """Starts the progress bar of an epoch, and says if its images have another size than those before."""
        position, epochs = self._state.position, self._state.config.optim.epochs
        height, width = self._train.output(position.epoch)
        if position.epoch and not position.step and (height, width) != self._train.output(position.epoch - 1):
            print(f"epoch {position.epoch + 1}/{epochs}: images of {height}x{width} from here on", flush=True)
        self._began = self._state.steady
        title = f"epoch {position.epoch + 1}/{epochs}"
        self._progress = Progress(len(self._train), position.step, title, quiet=not self._ranks.is_first)

    def step(self) -> None:
        """Counts a step."""
        if self._progress is not None:
            self._progress.step()

    def end_epoch(self) -> None:
        """Ends the progress bar."""
        if self._progress is not None:
            self._progress.close()
            self._progress = None

    def log(self, counted: EpochCounts, lr: float, certificates: Mapping[str, list[str]]) -> None:
        """Logs a step.

        `images_per_s` is the mean of training since the start, over all sessions; `images_per_s_last` is the speed of
        the steps since the last log line, which the console shows. Both leave out evaluation, and the first step of
        each session and size of the images, in which torch compiles.

        Args:
            counted: the current epoch so far.
            lr: of the step.
            certificates: of the steps since the last log line, by name.
        """
        state = self._state
        record: dict[str, Any] = {
            "step": state.global_step,
            "epoch": state.epochs,
            "loss": counted.loss,
            "top1": counted.top1,
            "lr": lr,
            "images_per_s": state.images_per_s,
            "images_per_s_last": self._speed_since(self._logged),
            "stall": state.position.stall,
            **certificates,
        }
        self._logged = state.steady
        self._write(record)
        if self._progress is not None:
            self._progress.show(
                f"loss {counted.loss:.3f}{_shown('  top-1', counted.top1, '.1f')}  {self._left()}LR {lr:.2e}  "
                f"{speed(record['images_per_s_last'])} images/s  stall {100 * record['stall']:.1f} %"
            )

    def _left(self) -> str:
        """How long the run will still take, by the steps of this epoch; empty before there are any."""
        if self._state.steady[0] == self._began[0]:
            return ""
        return f"{duration(seconds_left(self._state, self._val, self._speed_since(self._began)))} left  "

    def _speed_since(self, before: tuple[int, float]) -> float:
        """Images per second since `TrainState.steady` was `before`; the mean if there was no step but a first one."""
        images, seconds = (now - then for now, then in zip(self._state.steady, before, strict=True))
        return images / seconds if images else self._state.images_per_s

    def log_epoch(self) -> None:
        """Logs the epoch that was finished last, and why it is the last one if it is."""
        state = self._state
        why = ended(state.config, state.position)
        end = {} if why is None else {"ended": why}
        self._write({"step": state.global_step, **state.position.history[-1], **end})

    def print_epoch(self, best: bool) -> None:
        """Prints the epoch that was finished last, and has been saved, on a GPU to the host's memory.

        Args:
            best: it is the best so far.
        """
        row: Record = self._state.position.history[-1]
        speeds = f"{speed(self._speed_since(self._began))} images/s (mean {speed(row['images_per_s'])})"
        print(
            f"epoch {row['epoch']:>3}/{self._state.config.optim.epochs}  train loss {row['train_loss']:.3f}"
            f"{_shown(' top-1', row['train_top1'], '5.2f')}  {_val_figures(row)}  {speeds}  "
            f"stall {100 * row['stall']:.1f} %" + (BEST[of(row, self._state.config.optim.best_by)] if best else ""),
            flush=True,
        )

    def _write(self, record: Record) -> None:
        self._log.write(record)
        self._on_record(record)

    def write_history(self) -> None:
        """Writes metrics.csv, and curves.png unless it was drawn a moment ago: a GPU may do an epoch in the time."""
        position = self._state.position
        if self._ranks.is_first and position.history:
            write_csv(self._out / "metrics.csv", position.history)
            self._to_draw = True
            if time.monotonic() - self._drawn > DRAWN_EVERY:
                self._draw()

    def _draw(self) -> None:
        position, data = self._state.position, self._train
        title = (
            f"{data.folder.name}, {data.split}, {counted(data.images, 'train image', 'train images')}: "
            f"recipe {self._recipe}"
        )
        plots.curves(self._out / "curves.png", position.history, position.lrs, title, self._state.config.optim.best_by)
        self._drawn, self._to_draw = time.monotonic(), False

    @property
    def _recipe(self) -> str:
        return self._state.config.recipe

    def close(self) -> None:
        """Closes the log and the progress bar, and draws the last epochs."""
        self.end_epoch()
        self._log.close()
        if self._to_draw:
            with contextlib.suppress(OSError, MemoryError):  # what ended the run is more than a picture
                self._draw()

    def summarise(self) -> dict[str, Any]:
        """Writes summary.json and returns its content."""
        state, train, position = self._state, self._train, self._state.position
        target, evaluated = state.config.run.target, position.evaluated
        reached = next((row for row in evaluated if target is not None and row["val_top1"] >= target), None)
        summary = {
            "best": _result(max(evaluated, key=lambda row: value(row, state.config.optim.best_by))),
            "best_by": of(evaluated[-1], state.config.optim.best_by),
            "last": _result(position.history[-1]),
            "ended": {
                "by": ended(state.config, position),
                "epoch": position.epoch,
                "text": in_words(state.config, position),
            },
            "target": target,
            "target_reached": None if reached is None else {key: reached[key] for key in ("epoch", "seconds")},
            "epochs": {
                "evaluated": [row["epoch"] for row in evaluated],
                "skipped": [row["epoch"] for row in position.history if row not in evaluated],
            },
            "images": {"train": train.images, "val": self._val.images},
            "images_per_s": round(state.images_per_s, 1),
            "stall": round(position.stall, 4),
            "seconds": {
                "train": round(position.train_seconds, 1),
                "first_steps": round(position.first_seconds, 1),  # of train
                "eval": round(position.eval_seconds, 1),
            },
            "memory": peak_memory(train.device),
            **self._about(),
        }
        if self._ranks.is_first:
            write_json(self._out / "summary.json", summary)
        return summary

    def _about(self) -> dict[str, Any]:
        """What is known of a run when it starts."""
        state, train = self._state, self._train
        return {
            "precision": state.step.precision.name,
            "ranks": self._ranks.world_size,
            "store": train.store_name,
            "engine": train.engine_name,
            "decode": train.decoder,
            "hardware": hardware(train.device),
            "versions": versions(),
            "dataset": {"name": train.folder.name, "fingerprint": train.folder.fingerprint},
            "recipe": self._recipe,
            **{name: state.resolved[name] for name in ("max_lr_from",) if name in state.resolved},
            "config": state.config.flat(),
        }


def _shown(name: str, percent: float | None, form: str) -> str:
    """A part of a line; empty without a value, as training accuracy with mixed labels is."""
    return "" if percent is None else f"{name} {percent:{form}} %"


def _val_figures(row: Record) -> str:
    if row["val_top1"] is None:
        return "not evaluated"
    names = {"top-1": "val_top1", "top-5": "val_top5", "balanced": "val_balanced", "macro F1": "val_macro_f1"}
    shares = "".join(_shown(f" {name}", row.get(key), "5.2f") for name, key in names.items())
    return f"val loss {row['val_loss']:.3f}{shares}"


def _result(row: Mapping[str, Any]) -> dict[str, float]:
    """The figures of an epoch; those of classes are there if the classes differ in size."""
    kept = ("epoch", "val_top1", "val_top5", "val_balanced", "val_macro_f1", "val_loss", "train_top1", "train_loss")
    return {key: row[key] for key in kept if key in row}
