"""The benchmark: the loader alone, the model alone, both together; and who is the limit."""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from feedline.pipeline.loader import Batch, Loader
from feedline.training.meter import StallMeter
from feedline.training.ranks import ALONE, Ranks
from feedline.training.step import TrainStep


@dataclass
class Measured:
    """Rounds of one contestant.

    Attributes:
        name: e.g. `loader raw dali`.
        images_per_s: one value a round.
        cpu_us: CPU microseconds of the whole process an image, one value a round.
        stall: share of the time in which the model waited, one value a round; only where there is a model.
    """

    name: str
    images_per_s: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    stall: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.images_per_s)

    def summary(self) -> dict[str, Any]:
        """For JSON: medians, spread and all rounds."""
        return {
            "name": self.name,
            "images_per_s": round(self.median, 2),
            "lowest": round(min(self.images_per_s), 2),
            "highest": round(max(self.images_per_s), 2),
            "cpu_us_per_image": round(statistics.median(self.cpu_us), 2),
            "stall": round(statistics.median(self.stall), 4) if self.stall else None,
            "rounds": [round(v, 2) for v in self.images_per_s],
        }


Work = Callable[[], int]  # does a piece of work, returns how many images it took


def endless(loader: Loader) -> Iterator[Batch]:
    """Epoch after epoch."""
    while True:
        yield from loader


def synchronise(device: torch.device) -> None:
    """Waits for what the device has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_round(
    work: Work, device: torch.device, seconds: float, warm_up: int, meter: StallMeter, ranks: Ranks = ALONE
) -> tuple[float, float, float]:
    """At least `seconds` of work after `warm_up` pieces: images/s, CPU microseconds an image, stall's share.

    Several ranks do the same number of pieces: rank 0 looks at the clock for all.
    """
    for _ in range(warm_up):
        work()
    synchronise(device)
    stalled, cpu, started, images = meter.seconds(), time.process_time(), time.perf_counter(), 0
    pieces, more = 0, 1
    while more:
        for _ in range(more):
            images += work()
        pieces += more
        synchronise(device)
        elapsed = time.perf_counter() - started
        missing = math.ceil((seconds - elapsed) * pieces / elapsed)
        more = ranks.first_says(max(0, min(missing, pieces)))
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    images, cpu = ranks.sum_(torch.tensor([images, cpu], dtype=torch.float64)).tolist()
    return images / took, cpu / images * 1e6, (meter.seconds() - stalled) / took


def measure(
    loaders: dict[str, Loader], chosen: str, step: TrainStep, *, rounds: int, seconds: float, ranks: Ranks = ALONE
) -> list[Measured]:
    """Measures every loader alone, the model alone and both together, in interleaved rounds.

    Args:
        loaders: by name.
        chosen: the one that is measured together with the model.
        step: trains on a batch.
        rounds: how often each is measured.
        seconds: the least length of a round.
        ranks: who measures along; images and CPU time are added up, time and stall are rank 0's.

    Returns:
        The loaders in their order, then `model`, then `together`.
    """
    device = loaders[chosen].device
    sources = {name: endless(loader) for name, loader in loaders.items()}
    resident = next(sources[chosen])
    meter = StallMeter(device)
    fed = meter.watch(sources[chosen])

    def train_on(batch: Batch) -> int:
        step(*batch)
        return len(batch[1])

    contestants: dict[str, tuple[Work, int]] = {
        # What was made ahead while others were measured does not count: it is used up before a round.
        f"loader {name}": (lambda source=source: len(next(source)[1]), 2 * loaders[name].prefetch + 2)  # type: ignore[misc]
        for name, source in sources.items()
    }
    contestants["model"] = (lambda: train_on(resident), 1)
    contestants["together"] = (lambda: train_on(next(fed)), 1)
    results = {name: Measured(name) for name in contestants}
    train_on(resident)  # the first step of all allocates, and compiles if asked to
    for _, (name, (work, warm_up)) in itertools.product(range(rounds), contestants.items()):
        speed, cpu, stall = measure_round(work, device, seconds, warm_up, meter, ranks)
        results[name].images_per_s.append(speed)
        results[name].cpu_us.append(cpu)
        if name == "together":
            results[name].stall.append(stall)
    for loader in loaders.values():
        loader.close()
    return list(results.values())


def advice(results: list[Measured], auto: str, reason: str) -> str:
    """Which store to use here: one sentence."""
    loaders = [r for r in results if r.name.startswith("loader ")]
    best = max(loaders, key=lambda r: r.median)
    own = max((r for r in loaders if r.name.split()[1] == auto), key=lambda r: r.median, default=None)
    said = f"Store to use here: {auto} (what --store auto takes), because {reason}"
    if own is None:
        return f"{said}; it was not measured."
    if own is best:
        return f"{said}; it is also the fastest measured."
    return f"{said}; {' '.join(best.name.split()[1:])} measured {best.median / own.median:.2f} times its speed."


def verdict(results: list[Measured], chosen: str, device: torch.device, batch_size: int) -> str:
    """Who is the limit, by what factor, and what to try: one sentence."""
    by_name = {result.name: result for result in results}
    loader, model, together = by_name[f"loader {chosen}"], by_name["model"], by_name["together"]
    factor = loader.median / model.median
    reached = (
        f"together they reach {together.median:,.0f} images/s, {together.median / model.median:.0%} of the model alone"
    )
    if factor >= 1:
        advice = "a GPU" if device.type == "cpu" else f"--amp, --compile or a --batch-size above {batch_size}"
        return (
            f"The model is the limit: the loader ({chosen}) gives {factor:,.1f} times the images that the model takes, "
            f"and {reached}; for more speed try {advice}."
        )
    best = max((r for r in results if r.name.startswith("loader ")), key=lambda r: r.median)
    store, engine = best.name.split()[1:]
    if best is not loader:
        advice = f"--store {store} --engine {engine}, which gives {best.median / loader.median:.1f} times as much"
    elif store in ("files", "jpeg"):
        advice = "a raw pack (convert/build.py --packs jpeg,raw) and --store raw, or more --threads"
    else:
        advice = "--store resident or more --threads"
    return (
        f"The loader is the limit: the model takes {1 / factor:,.1f} times the images that the loader ({chosen}) "
        f"gives, and {reached}; try {advice}."
    )
