"""What the benchmark says of its measurements."""

import pytest
import torch

from feedline.cli.bench_words import verdict
from feedline.training.bench import Measurement

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("together", "words"),
    [(121.0, "121% of the model alone (more than 100 % is noise"), (95.0, "95% of the model alone; for more")],
)
def test_a_share_above_100_percent_is_noise(together: float, words: str) -> None:
    speeds = {"loader raw torch": 500.0, "model": 100.0, "together": together}
    results = [Measurement(name, [speed], [1.0]) for name, speed in speeds.items()]
    text = verdict(results, "raw torch", CPU, 50)
    assert words in text
    assert "The model is the limit: the loader (raw torch) gives 5.0 times" in text


def test_what_is_compiled_is_not_advised_to_be() -> None:
    results = [Measurement(name, [100.0], [1.0]) for name in ("loader raw dali", "model", "together")]
    gpu = torch.device("cuda")
    assert "try --amp, --compile or a --batch-size above 50" in verdict(results, "raw dali", gpu, 50)
    assert "try --amp or a --batch-size above 50" in verdict(results, "raw dali", gpu, 50, compiled=True)
