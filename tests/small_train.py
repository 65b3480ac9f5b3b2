"""train.py with a network that a CPU trains in no time, for tests that need real processes.

What the environment asks of it:
    SMALL_HOLD: `<step>:<folder>`; before that step each rank leaves a file in the folder and waits for a signal.
    SMALL_DIE: `<rank>:<step>`, where a rank of a first start ends as if it had crashed.
    SMALL_WATCH: a folder; each rank writes the images, windows and labels of its batches there.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import train
from feedline.pipeline.loader import Loader
from feedline.pipeline.plan import PlanBatch
from feedline.training import ranks
from feedline.training.modes import common
from feedline.training.step import TrainStep
from feedline.training.stopping import Stopping
from tests.training.conftest import small_model

BOUND = 300.0  # seconds after which a signal will not come any more


def main() -> int:
    common.resnet18 = small_model  # type: ignore[attr-defined, assignment]
    if "SMALL_HOLD" in os.environ:
        _hold()
    if "SMALL_DIE" in os.environ:
        _die()
    if "SMALL_WATCH" in os.environ:
        _watch_batches(Path(os.environ["SMALL_WATCH"]))
    status = train.main()
    # One of these that drops something of Python's while the interpreter ends would abort the process.
    left = [p for p in Path("/proc/self/task").glob("*/comm") if p.read_text().strip() == "pt_gloo_runloop"]
    if left and status == 0:
        raise RuntimeError(f"{len(left)} threads of the process group are left")
    return status


def _before_step(step: int, act: Callable[[], None]) -> None:
    call, done = TrainStep.__call__, [0]

    def disturbed(self: TrainStep, *batch: Any) -> Any:
        done[0] += 1
        if done[0] == step:
            act()
        return call(self, *batch)

    TrainStep.__call__ = disturbed  # type: ignore[method-assign, assignment]


def _die() -> None:
    who, _, step = os.environ["SMALL_DIE"].partition(":")

    def die() -> None:
        if os.environ.get("RANK") == who and not ranks.restarted():
            raise RuntimeError("this rank was told to die")

    _before_step(int(step), die)


def _hold() -> None:
    step, _, folder = os.environ["SMALL_HOLD"].partition(":")
    set_, asked = Stopping.set, list[int]()

    def noted(self: Stopping, signum: int = signal.SIGINT) -> None:
        set_(self, signum)
        asked.append(signum)

    def wait() -> None:
        (Path(folder) / os.environ.get("RANK", "0")).touch()
        deadline = time.monotonic() + BOUND
        while not asked:
            assert time.monotonic() < deadline, "no signal came"
            time.sleep(0.01)

    Stopping.set = noted  # type: ignore[method-assign]
    _before_step(int(step), wait)


def _watch_batches(folder: Path) -> None:
    batch, rank = Loader._labels, os.environ.get("RANK", "0")

    def watched(self: Loader, planned: PlanBatch) -> Any:
        seen = {"part": self.part, "ids": planned.ids.tolist(), "window": planned.window.tolist(),
                "flip": planned.flip.tolist()}  # fmt: skip
        with (folder / f"{rank}.jsonl").open("a") as file:
            file.write(json.dumps(seen) + "\n")
        return batch(self, planned)

    Loader._labels = watched  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    sys.exit(main())
