"""train.py with a network that a CPU trains in no time, for tests that need real processes.

What the environment asks of it:
    SMALL_SLEEP: seconds before each step.
    SMALL_DIE: `<rank>:<step>`, where a rank of a first start ends as if it had crashed.
    SMALL_WATCH: a folder; each rank writes the images, windows and labels of its batches there.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import train
from pipeline.loader import Loader
from pipeline.plan import PlanBatch
from tests.training.conftest import small_model
from training import ranks
from training.modes import common
from training.step import TrainStep


def main() -> int:
    common.resnet18 = small_model  # type: ignore[attr-defined, assignment]
    if "SMALL_SLEEP" in os.environ or "SMALL_DIE" in os.environ:
        _disturb_steps()
    if "SMALL_WATCH" in os.environ:
        _watch_batches(Path(os.environ["SMALL_WATCH"]))
    status = train.main()
    # One of these that drops something of Python's while the interpreter ends would abort the process.
    left = [p for p in Path("/proc/self/task").glob("*/comm") if p.read_text().strip() == "pt_gloo_runloop"]
    if left and status == 0:
        raise RuntimeError(f"{len(left)} threads of the process group are left")
    return status


def _disturb_steps() -> None:
    call, done = TrainStep.__call__, [0]
    who, _, step = os.environ.get("SMALL_DIE", "-1:0").partition(":")

    def disturbed(self: TrainStep, *batch: Any) -> Any:
        time.sleep(float(os.environ.get("SMALL_SLEEP", "0")))
        done[0] += 1
        if os.environ.get("RANK") == who and done[0] == int(step) and not ranks.restarted():
            raise RuntimeError("this rank was told to die")
        return call(self, *batch)

    TrainStep.__call__ = disturbed  # type: ignore[method-assign, assignment]


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
