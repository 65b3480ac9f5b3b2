"""When a run saves its state, and to which file."""

import time
from collections.abc import Callable
from pathlib import Path

from feedline.training import checkpoint
from feedline.training.config import RunConfig
from feedline.training.evaluate import Evaluation
from feedline.training.ranks import Ranks
from feedline.training.state import TrainState

PREDICTIONS = "predictions.npz"


class Saver:
    """Saves the checkpoints of a run.

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
        self._save(checkpoint.BEST, evaluation.top1)
        if self._ranks.is_first:
            evaluation.predictions.save(self._out / PREDICTIONS)

    def _save(self, name: str, val_top1: float | None = None, keep: Path | None = None) -> None:
        self._last = self._clock()
        snapshot = self._state.snapshot(val_top1)
        if self._ranks.is_first:
            checkpoint.save(self._out / name, snapshot.for_use() if name == checkpoint.BEST else snapshot, keep)
