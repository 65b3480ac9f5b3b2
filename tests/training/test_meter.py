from collections.abc import Iterator

import torch

from feedline.pipeline.loader import Batch
from feedline.training.meter import LapTimer, StallMeter

CPU = torch.device("cpu")


def test_stall_is_the_time_spent_waiting() -> None:
    seconds = [0.0]

    def slow() -> Iterator[Batch]:
        for _ in range(3):
            seconds[0] += 5
            yield torch.zeros(1), torch.zeros(1)

    meter = StallMeter(CPU, clock=lambda: seconds[0])
    for _ in meter.watch(slow()):
        seconds[0] += 2
    assert meter.seconds() == 15


def test_a_lap_is_the_time_since_the_last_lap() -> None:
    timer = LapTimer(StallMeter(CPU))
    first, second = timer.lap(), timer.lap()
    assert first[0] > 0
    assert second[0] > 0
    assert first[1] == second[1] == 0
