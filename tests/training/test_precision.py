import pytest
import torch

from feedline.training.precision import Precision
from tests.training.conftest import Make


@pytest.mark.parametrize(("amp_dtype", "scales"), [("bf16", False), ("fp16", True)])
def test_mixed_precision_policies(config: Make, amp_dtype: str, scales: bool) -> None:
    precision = Precision.choose(config(amp=True, amp_dtype=amp_dtype).run, torch.device("cpu"))
    assert precision.scales is scales is precision.scaler().is_enabled()
    with precision.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == precision.dtype
    plain = Precision.choose(config().run, torch.device("cpu"))
    with plain.autocast():
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32
