import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import nn
from torch._C._distributed_c10d import HashStore

from feedline import InputError
from feedline.training.sync_norm import GpuSyncBatchNorm, HostSyncBatchNorm, synchronised


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


def test_frozen_norms_stay_frozen_and_others_are_refused() -> None:
    frozen = nn.Sequential(nn.BatchNorm2d(5)).requires_grad_(False)
    assert not any(p.requires_grad for p in synchronised(frozen, torch.device("cpu")).parameters())
    for options in ({"affine": False}, {"track_running_stats": False}, {"momentum": None}):
        with pytest.raises(InputError, match="sync_bn=True: a BatchNorm2d of this network has no weights, running"):
            synchronised(nn.Sequential(nn.BatchNorm2d(5, **options)), torch.device("cpu"))


class Threads:
    """Two ranks as threads, with the collectives that the norms use."""

    def __init__(self, patch: pytest.MonkeyPatch, size: int = 2) -> None:
        self.size, self.rank, self.calls = size, threading.local(), 0
        self._barrier, self._tensors = threading.Barrier(size), [torch.empty(0)] * size
        patch.setattr("torch.distributed.get_world_size", lambda: size)
        patch.setattr("torch.distributed.get_rank", lambda: self.rank.number)
        patch.setattr("torch.distributed.all_reduce", self._all_reduce)

    def _all_reduce(self, tensor: torch.Tensor) -> None:
        self.calls += self.rank.number == 0
        self._tensors[self.rank.number] = tensor.clone()
        self._barrier.wait(10)
        total = torch.stack(self._tensors).sum(0)
        self._barrier.wait(10)
        tensor.copy_(total)

    def run(self, function: Callable[[int], Any]) -> list[Any]:
        def on_rank(number: int) -> Any:
            self.rank.number = number
            return function(number)

        with ThreadPoolExecutor(self.size) as pool:
            return list(pool.map(on_rank, range(self.size)))


def kernels_on_the_cpu(patch: pytest.MonkeyPatch) -> None:
    """What torch's kernels for norms over ranks compute; it has them for GPUs only."""
    shape = (1, -1, 1, 1)

    def stats(x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean((0, 2, 3)), (x.var((0, 2, 3), correction=0) + eps).rsqrt()

    def gather(
        x: Any, mean: Any, invstd: Any, running_mean: Any, running_var: Any, m: float, eps: float, n: Any
    ) -> Any:
        total, var = n.sum(), invstd**-2 - eps
        whole = (mean * n[:, None]).sum(0) / total
        spread = ((var + (mean - whole) ** 2) * n[:, None]).sum(0) / total
        running_mean.lerp_(whole, m)
        running_var.lerp_(spread * total / (total - 1), m)
        return whole, (spread + eps).rsqrt()

    def elemt(x: Any, weight: Any, bias: Any, mean: Any, invstd: Any, eps: float) -> torch.Tensor:
        return (x - mean.view(shape)) * (invstd * weight).view(shape) + bias.view(shape)

    def reduce(g: Any, x: Any, mean: Any, invstd: Any, weight: Any, *_: bool) -> Any:
        sums, sums_x = g.sum((0, 2, 3)), (g * (x - mean.view(shape))).sum((0, 2, 3))
        return sums, sums_x, sums_x * invstd, sums

    def backward(g: Any, x: Any, mean: Any, invstd: Any, weight: Any, sums: Any, sums_x: Any, n: Any) -> torch.Tensor:
        assert n.dtype == torch.int32
        n = n.sum()
        slope = (sums_x / n * invstd**2).view(shape)
        return (g - (sums / n).view(shape) - (x - mean.view(shape)) * slope) * (invstd * weight).view(shape)

    for name, function in {
        "stats": stats, "gather_stats_with_counts": gather, "elemt": elemt,
        "backward_reduce": reduce, "backward_elemt": backward,
    }.items():  # fmt: skip
        patch.setattr(torch, f"batch_norm_{name}", function)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.BatchNorm2d(4))


def test_norms_on_gpus_agree_with_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two ranks with half of a batch each equal BatchNorm2d on all of it, with a collective a norm and direction."""
    kernels_on_the_cpu(monkeypatch)
    ranks, whole = Threads(monkeypatch), network()
    images = torch.randn(8, 3, 8, 8) * 3 + 1
    expected = whole(images)
    (expected**3).sum().backward()
    models: list[Any] = [synchronised(network(), torch.device("cuda")) for _ in range(2)]
    assert all(isinstance(model[k], GpuSyncBatchNorm) for model in models for k in (1, 4))

    def step(rank: int) -> torch.Tensor:
        out: torch.Tensor = models[rank](images.chunk(2)[rank])
        (out**3).sum().backward()
        return out

    torch.testing.assert_close(torch.cat(ranks.run(step)), expected)
    assert ranks.calls == 4
    for model in models:
        for wanted, buffer in zip(whole.buffers(), model.buffers(), strict=True):
            torch.testing.assert_close(buffer, wanted)
    for p, *shares in zip(whole.parameters(), *(model.parameters() for model in models), strict=True):
        total = sum(share.grad for share in shares if share.grad is not None)
        torch.testing.assert_close(total, p.grad, rtol=1e-3, atol=1e-2)


def alone(patch: pytest.MonkeyPatch) -> None:
    """One rank."""
    patch.setattr("torch.distributed.all_reduce", lambda tensor: tensor)
    patch.setattr("torch.distributed.get_world_size", lambda: 1)
    patch.setattr("torch.distributed.get_rank", lambda: 0)


def test_norms_do_not_end_a_compiled_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels_on_the_cpu(monkeypatch)
    alone(monkeypatch)
    torch._dynamo.reset()
    images = torch.randn(8, 3, 8, 8)
    model = torch.compile(synchronised(network(), torch.device("cuda")), backend="aot_eager", fullgraph=True)
    out, wanted = model(images), network()(images)
    torch.testing.assert_close(out, wanted)
    out.square().sum().backward()


@pytest.mark.gpu
def test_norms_on_a_gpu_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels themselves, with one rank: equal to BatchNorm2d, and nothing waits."""
    alone(monkeypatch)
    device, plain = torch.device("cuda"), network().cuda()
    twin = synchronised(network(), device).cuda()
    images = torch.randn(8, 3, 8, 8, device=device).to(memory_format=torch.channels_last)
    for _ in range(2):
        torch.cuda.set_sync_debug_mode("error")
        try:
            out = twin(images)
            out.square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        wanted = plain(images)
        wanted.square().sum().backward()
        torch.testing.assert_close(out, wanted, rtol=1e-4, atol=1e-4)
    for p, q in zip(plain.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-3, atol=1e-3)


@pytest.fixture
def nccl() -> Iterator[torch.device]:
    """A process group of one rank on a GPU: NCCL's collectives, with nobody to talk to."""
    device = torch.device("cuda", torch.cuda.current_device())
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl", store=HashStore(), rank=0, world_size=1)
    yield device
    torch.distributed.destroy_process_group()


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_norms_over_nccl_do_not_wait_for_the_gpu(nccl: torch.device, dtype: torch.dtype) -> None:
    plain, twin = network().to(nccl), synchronised(network(), nccl).to(nccl)
    images = torch.randn(8, 3, 8, 8, device=nccl).to(memory_format=torch.channels_last)
    for number in range(3):
        torch.cuda.set_sync_debug_mode("error" if number else "default")  # the first call connects
        try:
            with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
                out = twin(images)
            out.float().square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            expected = plain(images)
        expected.float().square().sum().backward()
        torch.testing.assert_close(out.float(), expected.float(), rtol=3e-2, atol=3e-2)
    for a, b in zip(plain.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-2, atol=1e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_norms_over_nccl_in_compiled_graphs(nccl: torch.device, mode: str) -> None:
    torch._dynamo.reset()
    plain, model = network().to(nccl), synchronised(network(), nccl).to(nccl)
    compiled = torch.compile(model, mode=mode, fullgraph=True, dynamic=False)
    for number in range(6):
        images = torch.randn(8, 3, 8, 8, device=nccl) * (1 + number)
        for module in (plain, model):
            module.zero_grad()
        out, expected = compiled(images), plain(images)
        out.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(out, expected, rtol=1e-3, atol=1e-3)
    for p, q in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(q.grad, p.grad, rtol=2e-2, atol=2e-2)
