import pytest
import torch
from torch import nn

from feedline.training.sync_norm import HostSyncBatchNorm, synchronised


def test_norms_on_the_host_agree_with_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a single rank it equals BatchNorm2d: output, gradients and running statistics."""
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: tensor)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 1)
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    twin = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    twin.load_state_dict(plain.state_dict())
    twin = synchronised(twin, torch.device("cpu"))  # type: ignore[assignment]
    assert isinstance(twin[1], HostSyncBatchNorm)
    for _ in range(3):
        x = torch.randn(4, 3, 8, 8) * 3 + 1
        a, b = plain(x), twin(x)
        torch.testing.assert_close(a, b)
        (a**3).sum().backward()
        (b**3).sum().backward()
    for (name, p), q in zip(plain.named_parameters(), twin.parameters(), strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-3, atol=1e-2, msg=name)
    for expected, actual in zip(plain.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(plain.eval()(x), twin.eval()(x))
