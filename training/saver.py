"""When a run saves its state, and to which file."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from feedline.training import checkpoint
from feedline.training.config import RunConfig
from feedline.training.evaluate import Evaluation
from feedline.training.predictions import Predictions
from feedline.training.ranks import Ranks
from feedline.training.snapshot import Snapshot
from feedline.training.state import TrainState

PREDICTIONS = "predictions.npz"


class Saver:
    """Saves the checkpoints of a run, within it as a context; leaving it waits until all are written.

    On a GPU a thread writes them: the GPU would wait longer for the disk than for the copy to the host's memory. What
    goes wrong there is raised by a later save or at the end, and nothing is written behind it.

    Args:
        config: says how often to save in mid-epoch.
        state: what to save.
        out: the run folder.
        ranks: rank 0 writes.
        clock: returns seconds.
    """

    def __init__(
        self,
        config: RunConfig,
        state: TrainState,
        out: Path,
        ranks: Ranks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._state, self._out, self._ranks, self._clock = config, state, out, ranks, clock
        self._last = clock()
        self._ahead = state.train.device.type == "cuda"
        self._thread: ThreadPoolExecutor | None = None
        self._written: list[Future[None]] = []
        self._failed = False

    def __enter__(self) -> "Saver":
        if self._ranks.is_first:
            checkpoint.clear(self._out)
        self._thread = ThreadPoolExecutor(1, "feedline-saver") if self._ahead else None
        self._written, self._failed = [], False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        del kind, error, traceback
        if self._thread is not None:
            self._thread.shutdown()
            self._wait(0)

    def minutes_are_over(self) -> bool:
        """Whether it is time to save by the clock. Only rank 0 looks at it."""
        minutes = self._config.save_minutes
        return bool(minutes) and self._ranks.is_first and self._clock() - self._last >= 60 * minutes

    def step_is_due(self) -> bool:
        """Whether to save after the current step, by the number of steps."""
        steps = self._config.save_steps
        return bool(steps) and self._state.position.step % steps == 0

    def save_last(self) -> None:
        """Writes last.pt; the one before it is kept as previous.pt. Every rank must call it."""
        self._save(checkpoint.LAST, keep=self._out / checkpoint.PREVIOUS)

    def save_best(self, evaluation: Evaluation) -> None:
        """Writes best.pt, which holds weights and no state of the optimizer, and what it predicted.

        Every rank must call it.
        """
        self._save(checkpoint.BEST, evaluation.top1, predictions=evaluation.predictions)

    def _save(
        self,
        name: str,
        val_top1: float | None = None,
        keep: Path | None = None,
        predictions: Predictions | None = None,
    ) -> None:
        self._last = self._clock()
        snapshot = self._state.snapshot(val_top1)
        if not self._ranks.is_first:
            return
        if name == checkpoint.BEST:
            snapshot = snapshot.for_use()

        if self._thread is None:
            self._write(name, snapshot, keep, predictions)
            return
        self._wait(1)
        self._written.append(self._thread.submit(self._write, name, snapshot.copied(), keep, predictions))

    def _write(self, name: str, snapshot: Snapshot, keep: Path | None, predictions: Predictions | None) -> None:
        if self._failed:  # last.pt must not name a best.pt that could not be written
            return
        self._failed = True
        checkpoint.save(self._out / name, snapshot, keep)
        if predictions is not None:
            predictions.save(self._out / PREDICTIONS)
        self._failed = False

    def _wait(self, waiting: int) -> None:
        """Waits until no more than some checkpoints are to be written. Raises what went wrong with the others."""
        while len(self._written) > waiting:
            self._written.pop(0).result()
