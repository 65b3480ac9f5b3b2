"""The benchmark: the loader alone, the model alone, both together; and which of the two limits the speed."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch

from feedline.pipeline.loader import Batch, Loader
from feedline.progress import Progress
from feedline.training.config import Config
from feedline.training.counts import Counts
from feedline.training.meter import StallMeter
from feedline.training.optim import WeightAverage
from feedline.training.ranks import ALONE, Ranks
from feedline.training.step import TrainStep


@dataclass
class Measurement:
    """The rounds of one measurement.

    Attributes:
        name: e.g. `loader raw dali`.
        images_per_s: one value per round.
        cpu_us: CPU microseconds of the whole process per image, one value per round.
        stall: share of the time in which the model waited, one value per round; only for `together`.
    """

    name: str
    images_per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    stall: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.images_per_s)

    def summary(self) -> dict[str, Any]:
        """Median, spread and all rounds, for JSON."""
        return {
            "name": self.name,
            "images_per_s": round(self.median, 2),
            "lowest": round(min(self.images_per_s), 2),
            "highest": round(max(self.images_per_s), 2),
            "cpu_us_per_image": round(statistics.median(self.cpu_us), 2),
            "stall": round(statistics.median(self.stall), 4) if self.stall else None,
            "rounds": [round(v, 2) for v in self.images_per_s],
        }


class LoopStep:
    """What the training loop does with a batch that is not mixed: a step, the moving average, and the epoch's sums.

    Args:
        config: of the run.
        step: trains on a batch.
        device: of the batches.
        ranks: the processes of the run.
    """

    def __init__(self, config: Config, step: TrainStep, device: torch.device, ranks: Ranks = ALONE) -> None:
        self._step, self._counts = step, Counts(device, ranks)
        self._average = WeightAverage(step.model, config.optim.ema) if config.optim.ema else None

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        loss, logits = self._step(images, labels)
        if self._average is not None and self._step.updated:
            self._average.update()
        self._counts.add(loss, logits, labels, 1)


Work = Callable[[], int]  # processes one batch and returns its number of images


def endless(loader: Loader) -> Generator[Batch, None, None]:
    """Yields batches without end, epoch after epoch."""
    while True:
        yield from loader


def synchronize(device: torch.device) -> None:
    """Waits until the device is idle."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_round(
    work: Work, device: torch.device, seconds: float, warm_up: int, meter: StallMeter, ranks: Ranks = ALONE
) -> tuple[float, float, float]:
    """Measures one round.

    Args:
        work: what to measure.
        device: synchronized before the clock is read.
        seconds: minimum length of the round.
        warm_up: calls before the round.
        meter: measures the stall.
        ranks: the processes that take part; rank 0's clock decides when all of them stop.

    Returns:
        Images/s, CPU microseconds per image, and the share of the time in which the model waited.
    """
    for _ in range(warm_up):
        work()
    synchronize(device)
    stalled, cpu, started, images = meter.seconds(), time.process_time(), time.perf_counter(), 0
    calls, next_calls = 0, 1
    while next_calls:
        for _ in range(next_calls):
            images += work()
        calls += next_calls
        synchronize(device)
        elapsed = time.perf_counter() - started
        missing = math.ceil((seconds - elapsed) * calls / elapsed)
        next_calls = ranks.broadcast(max(0, min(missing, calls)))
    elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
    images, cpu = ranks.all_reduce(torch.tensor([images, cpu], dtype=torch.float64)).tolist()
    return images / elapsed, cpu / images * 1e6, (meter.seconds() - stalled) / elapsed


def measure(
    loaders: dict[str, Loader],
    chosen: str,
    step: Callable[[torch.Tensor, torch.Tensor], object],
    *,
    rounds: int,
    seconds: float,
    ranks: Ranks = ALONE,
) -> list[Measurement]:
    """Measures every loader alone, the model alone and both together, in interleaved rounds behind one of warm-up.

    Args:
        loaders: by name.
        chosen: the loader that is measured together with the model.
        step: trains on a batch.
        rounds: number of measurements of each.
        seconds: minimum length of a round.
        ranks: the processes that take part; images and CPU time are summed over them, time and stall are rank 0's.

    Returns:
        The loaders in the given order, then `model`, then `together`.
    """
    device = loaders[chosen].device
    with closing(endless(loaders[chosen])) as batches:
        one_batch = next(batches)
    meter = StallMeter(device)

    def train_on(batch: Batch) -> int:
        step(*batch)
        return len(batch[1])

    def measured(name: str) -> tuple[float, float, float]:
        if name == "model":
            return measure_round(lambda: train_on(one_batch), device, seconds, 1, meter, ranks)
        loader = loaders[name.removeprefix("loader ") if name != "together" else chosen]
        warm_up = loader.ahead + 2  # takes the batches that were made while nobody measured
        # Closed behind the round: what a slow loader still makes would run into the time of the next.
        with closing(endless(loader)) as batches:
            if name != "together":
                return measure_round(lambda: len(next(batches)[1]), device, seconds, warm_up, meter, ranks)
            timed = meter.watch(batches)
            return measure_round(lambda: train_on(next(timed)), device, seconds, warm_up, meter, ranks)

    results = {name: Measurement(name) for name in (*(f"loader {name}" for name in loaders), "model", "together")}
    train_on(one_batch)  # the first step allocates memory, and torch may compile in it
    progress = Progress((rounds + 1) * len(results), 0, "measuring", unit="round", quiet=not ranks.is_first)
    for number, (name, result) in itertools.product(range(rounds + 1), results.items()):
        progress.show(name)
        speed, cpu, stall = measured(name)
        progress.step()
        if number == 0:
            continue  # a warm-up: caches, clock rates and torch's choices settle
        result.images_per_s.append(speed)
        result.cpu_us.append(cpu)
        if name == "together":
            result.stall.append(stall)
    progress.close()
    for loader in loaders.values():
        loader.close()
    return list(results.values())
