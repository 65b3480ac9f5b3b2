"""Muon's step as a CUDA graph: on a GPU, and with a capture that only keeps what it would replay."""

import gc
import math
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from feedline.training import muon, replayed
from feedline.training.muon import Muon
from feedline.training.optim import muon_groups
from feedline.training.replayed import WARM_UP, Replayed
from tests.training.conftest import Make, small_model

STEPS = WARM_UP + 4
RATES = [0.1 / (1 + k) for k in range(STEPS)]


class Kept:
    """In place of a graph: work that is run when it is replayed, where it must not read the rate of a group."""

    groups: ClassVar[list[dict[str, Any]]] = []

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def replay(self) -> None:
        rates = [group["lr"] for group in self.groups]
        for group in self.groups:
            group["lr"] = math.nan
        self._work()
        for group, rate in zip(self.groups, rates, strict=True):
            group["lr"] = rate


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[Kept]:
    """Makes Muon take the CPU for a GPU, and lists the captures."""
    made: list[Kept] = []

    def capture(work: Callable[[], None]) -> Kept:
        made.append(Kept(work))
        return made[-1]

    monkeypatch.setattr(replayed, "capture", capture)
    monkeypatch.setattr(muon, "_on_gpu", lambda _: True)
    return made


def optimizer_of(config: Make, model: nn.Module, *, graphs: bool) -> Muon:
    made = config(optimizer="muon").optim
    optimizer = Muon(muon_groups(made, model, 0.1), 0.1, 0.9, steps=3, graphs=graphs)
    Kept.groups = optimizer.param_groups
    return optimizer


def train(model: nn.Module, optimizer: Muon, rates: list[float], device: str = "cpu") -> list[torch.Tensor]:
    """Steps on gradients of their own, in memory of their own, at these rates; the weights."""
    for k, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        for n, p in enumerate(model.parameters()):
            draws = torch.Generator().manual_seed(100 * k + n)
            order = torch.channels_last if p.ndim == 4 else torch.contiguous_format  # as those of training
            p.grad = torch.randn(p.shape, generator=draws).to(device, memory_format=order)
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]


def model_of(device: str = "cpu") -> nn.Module:
    torch.manual_seed(0)
    return small_model().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def filters_of_all_kinds(device: str = "cpu") -> nn.Module:
    """Several of one shape, a tall one, a wide one and 1x1."""
    torch.manual_seed(0)
    shapes = [(8, 8, 3), (8, 8, 3), (8, 8, 3), (64, 3, 3), (8, 64, 3), (16, 8, 1)]
    layers = [nn.Conv2d(inputs, outputs, kernel) for outputs, inputs, kernel in shapes]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16, 4))
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def test_a_replayed_step_reads_the_gradients_and_the_rate_of_its_step(config: Make, captures: list[Kept]) -> None:
    graphs, plain = model_of(), model_of()
    optimizer = optimizer_of(config, graphs, graphs=True)
    found = train(graphs, optimizer, RATES)
    assert len(captures) == 1
    assert optimizer.replays
    expected = train(plain, optimizer_of(config, plain, graphs=False), RATES)
    assert len(captures) == 1
    torch.testing.assert_close(found, expected)


def test_filters_of_all_kinds_are_updated_alike(config: Make, captures: list[Kept]) -> None:
    found = []
    for graphs in (True, False):
        model = filters_of_all_kinds()
        found.append(train(model, optimizer_of(config, model, graphs=graphs), RATES))
    assert len(captures) == 1
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.parametrize("moved", ["weights", "momentum", "its number"])
def test_what_a_graph_holds_and_has_changed_is_captured_anew(config: Make, captures: list[Kept], moved: str) -> None:
    """Weights that were given other memory, a state that was loaded, another momentum."""
    found, held = [], []
    for graphs in (True, False):
        model = model_of()
        optimizer = optimizer_of(config, model, graphs=graphs)
        train(model, optimizer, RATES)
        if moved == "weights":
            for p in model.parameters():
                p.data = p.data.clone()
        elif moved == "momentum":
            held.append(dict(optimizer.state))  # else the new momentum may lie where the old one did, which is no move
            optimizer.load_state_dict(optimizer.state_dict() | {"state": {}})
        else:
            optimizer.param_groups[0]["momentum"] = 0.3
        found.append(train(model, optimizer, RATES))
    assert len(captures) == 2
    torch.testing.assert_close(*found)


def test_a_step_that_cannot_be_captured_is_launched_as_before(
    config: Make, captures: list[Kept], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def capture(_: Callable[[], None]) -> Kept:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore of it")

    monkeypatch.setattr(replayed, "capture", capture)
    graphs, plain = model_of(), model_of()
    found = train(graphs, optimizer_of(config, graphs, graphs=True), RATES)
    assert caplog.messages == [
        "the optimizer's step is launched kernel by kernel, which is slower: CUDA error: operation not permitted when "
        "stream is capturing"
    ]
    torch.testing.assert_close(found, train(plain, optimizer_of(config, plain, graphs=False), RATES))


def test_an_optimizer_that_is_dropped_gives_its_memory_back(config: Make, captures: list[Kept]) -> None:
    """At once: a cycle would keep weights, momentum and graph until a garbage collection."""
    model = model_of()
    optimizer = optimizer_of(config, model, graphs=True)
    train(model, optimizer, RATES)
    gone = weakref.ref(optimizer)
    Kept.groups = []
    gc.disable()
    try:
        del optimizer
        assert gone() is None
    finally:
        gc.enable()


def test_decay_of_the_filters_is_not_captured(config: Make, captures: list[Kept]) -> None:
    """It depends on the rate, which changes."""
    model = model_of()
    groups = muon_groups(config(optimizer="muon").optim, model, 0.1)
    train(model, Muon(groups, 0.1, 0.9, renorm=False, graphs=True), RATES)
    assert not captures


def test_the_first_calls_are_not_replayed(captures: list[Kept]) -> None:
    """Nothing is run twice, or left out, in the call that captures."""
    seen: list[float] = []
    work = Replayed(lambda inputs: seen.append(float(inputs[0])))
    for k in range(STEPS):
        work([torch.tensor(float(k))])
        assert len(captures) == (k >= WARM_UP)
    assert seen == list(range(STEPS))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("steps", [3, 5])
def test_a_graph_on_a_gpu_gives_the_same_weights(config: Make, dtype: torch.dtype, steps: int) -> None:
    """To the bit: its kernels are those of the first steps, and of a run without graphs."""
    found = []
    for graphs in (True, False):
        model = filters_of_all_kinds("cuda")
        groups = muon_groups(config(optimizer="muon").optim, model, 0.1)
        optimizer = Muon(groups, 0.1, 0.9, steps=steps, dtype=dtype, graphs=graphs)
        found.append(train(model, optimizer, RATES, "cuda"))
        assert optimizer.replays is graphs
    torch.testing.assert_close(*found, rtol=0, atol=0)


@pytest.mark.gpu
def test_a_capture_that_fails_on_a_gpu_leaves_it_as_it_was() -> None:
    total, stream = torch.zeros((), device="cuda"), torch.cuda.current_stream()
    drawn = torch.zeros(4, device="cuda")
    earlier = replayed.capture(drawn.uniform_)

    def add(inputs: list[torch.Tensor]) -> None:
        total.add_(float(inputs[0]))  # waits for the GPU, which a capture cannot

    work = Replayed(add)
    for k in range(STEPS):
        work([torch.tensor(float(k), device="cuda")])
    assert total.item() == sum(range(STEPS))
    assert torch.rand(1, device="cuda").item() < 1, "the generator still takes a draw for a part of the capture"
    earlier.replay()
    assert drawn.any()
    assert torch.cuda.current_stream() == stream
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    for _ in range(3):  # of a batch that another stream has used
        batch = torch.empty(1 << 20, device="cuda")
        batch.record_stream(torch.cuda.Stream())
        del batch
        torch.cuda.synchronize()
        torch.empty(1, device="cuda")
    assert torch.cuda.memory_allocated() == before, "the allocator still waits for the end of the capture"
