"""What the benchmark measures, with loaders and clocks that the tests make."""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
import torch

from feedline.training import bench
from feedline.training.bench import LoopStep, measure
from feedline.training.counts import Counts
from feedline.training.optim import WeightAverage
from feedline.training.step import TrainStep
from tests.training.conftest import Make, small_model

CPU = torch.device("cpu")


class Fake:
    """A loader that counts the loops that are under way."""

    device = CPU
    ahead = 6
    under_way: ClassVar[set[int]] = set()

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        self.under_way.add(id(self))
        try:
            for _ in range(2):
                yield torch.zeros(4, 3), torch.zeros(4)
        finally:
            self.under_way.discard(id(self))

    def close(self) -> None: ...


def test_only_what_is_measured_runs_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []

    def round_of(work: Any, device: Any, seconds: float, warm_up: int, meter: Any, ranks: Any) -> tuple[float, ...]:
        before = len(Fake.under_way)
        assert work() == 4
        seen.append((before, len(Fake.under_way), warm_up))
        return float(len(seen)), 1.0, 0.5

    monkeypatch.setattr(bench, "measure_round", round_of)
    loaders: Any = {"raw torch": Fake(), "files torch": Fake()}
    step: Any = lambda images, labels: None  # noqa: E731
    results = {r.name: r for r in measure(loaders, "raw torch", step, rounds=2, seconds=0.1)}
    assert seen == 3 * [(0, 1, 8), (0, 1, 8), (0, 0, 1), (0, 1, 8)], "what was made ahead is used up first"
    assert results["loader raw torch"].images_per_s == [5, 9]
    assert results["together"].images_per_s == [8, 12]
    assert results["together"].stall == [0.5, 0.5]
    assert not results["model"].stall


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_model_s_share_is_all_that_the_loop_does(config: Make, monkeypatch: pytest.MonkeyPatch, ema: float) -> None:
    """The step, the average of the weights, and the sums that the log shows."""
    done: list[str] = []
    for kind, name in ((TrainStep, "__call__"), (WeightAverage, "update"), (Counts, "add")):
        inner = getattr(kind, name)

        def spied(*args: Any, inner: Any = inner, kind: Any = kind) -> Any:
            done.append(kind.__name__)
            return inner(*args)

        monkeypatch.setattr(kind, name, spied)
    c = config(ema=ema)
    loop = LoopStep(c, TrainStep(c, small_model(), CPU, 0.01), CPU)
    loop(torch.randn(16, 3, 16, 16), torch.arange(16) % 4)
    assert done == ["TrainStep", *["WeightAverage"] * (ema > 0), "Counts"]
