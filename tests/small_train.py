"""train.py with a very small network, for tests that need real processes.

Environment variables:
    SMALL_HOLD: `<step>:<folder>`: before this step each rank leaves a file in the folder and waits for a signal.
    SMALL_DIE: `<rank>:<step>`: this rank crashes at this step, before any restart.
    SMALL_SAVES: a file; the steps at which last.pt is saved are written there.
    SMALL_WATCH: a folder; each rank writes the plan of its batches there, in <rank>.jsonl.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feedline.cli.main import main as train
from feedline.pipeline.plan import Plan, PlanBatch
from feedline.training import checkpoint, ranks
from feedline.training.snapshot import Snapshot
from feedline.training.step import TrainStep
from feedline.training.stopping import Stopping
from tests.training.conftest import small_model

BOUND = 300.0  # seconds after which a test gives up


def main() -> int:
    if "SMALL_HOLD" in os.environ:
        _hold()
    if "SMALL_DIE" in os.environ:
        _die()
    if "SMALL_SAVES" in os.environ:
        _note_saves(Path(os.environ["SMALL_SAVES"]))
    if "SMALL_WATCH" in os.environ:
        _watch_batches(Path(os.environ["SMALL_WATCH"]))
    status = train(network=small_model)
    # Such a thread aborts the process if it drops a Python object during interpreter shutdown.
    left = [p for p in Path("/proc/self/task").glob("*/comm") if p.read_text().strip() == "pt_gloo_runloop"]
    if left and status == 0:
        raise RuntimeError(f"{len(left)} threads of the process group are left")
    return status


def _before_step(step: int, act: Callable[[], None]) -> None:
    """Calls a function before a step of this process."""
    call, done = TrainStep.__call__, [0]

    def disturbed(self: TrainStep, *batch: Any) -> Any:
        done[0] += 1
        if done[0] == step:
            act()
        return call(self, *batch)

    TrainStep.__call__ = disturbed  # type: ignore[method-assign, assignment]


def _die() -> None:
    rank, _, step = os.environ["SMALL_DIE"].partition(":")

    def die() -> None:
        if os.environ.get("RANK") == rank and not ranks.restarted():
            raise RuntimeError("this rank was told to die")

    _before_step(int(step), die)


def _hold() -> None:
    step, _, folder = os.environ["SMALL_HOLD"].partition(":")
    set_stopping, signals = Stopping.set, list[int]()

    def noted(self: Stopping, signum: int = signal.SIGINT) -> None:
        set_stopping(self, signum)
        signals.append(signum)

    def wait() -> None:
        (Path(folder) / os.environ.get("RANK", "0")).touch()
        deadline = time.monotonic() + BOUND
        while not signals:
            assert time.monotonic() < deadline, "no signal came"
            time.sleep(0.01)

    Stopping.set = noted  # type: ignore[method-assign]
    _before_step(int(step), wait)


def _note_saves(notes: Path) -> None:
    save = checkpoint.save

    def noted(path: Path, snapshot: Snapshot, keep: Path | None = None) -> None:
        save(path, snapshot, keep)
        if path.name == checkpoint.LAST:
            with notes.open("a") as file:
                file.write(f"{snapshot.schedule['last_epoch']}\n")

    checkpoint.save = noted


def _watch_batches(folder: Path) -> None:
    plan_batch, rank = Plan.batch, os.environ.get("RANK", "0")

    def watched(self: Plan, epoch: int, k: int) -> PlanBatch:
        batch = plan_batch(self, epoch, k)
        seen = {name: getattr(batch, name).tolist() for name in ("ids", "window", "flip")}
        with (folder / f"{rank}.jsonl").open("a") as file:
            file.write(json.dumps(seen) + "\n")
        return batch

    Plan.batch = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
