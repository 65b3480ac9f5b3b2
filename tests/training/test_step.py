from typing import Any

import pytest
import torch
from torch import nn

from feedline import InputError
from feedline.training.mixing import Mixture
from feedline.training.replayed import WARM_UP
from feedline.training.step import TrainStep
from tests.training.conftest import Build, Make, small_model

CPU = torch.device("cpu")


def test_the_schedule_does_not_count_steps_that_the_scaler_skipped(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=6, amp=True, amp_dtype="fp16"))
    run.state.step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)  # the first steps overflow
    before = {k: v.clone() for k, v in run.state.model.named_parameters()}
    images, labels = next(iter(run.train))
    run.state.step(images, labels)
    assert not run.state.step.updated
    assert all(torch.equal(before[k], v) for k, v in run.state.model.named_parameters())
    run.train.close()
    run.fit()
    assert 0 < run.state.schedule.last_epoch < 6 * len(run.train)


def without_norms() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 4))


@pytest.mark.parametrize("values", [{}, {"class_weights": "balanced"}, {"clip_grad": 0.05}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("mixed", [False, True])
def test_a_step_in_parts_is_that_of_the_whole_batch(config: Make, values: dict[str, Any], mixed: bool) -> None:
    """Where no norm sees the parts: loss, logits and weights."""
    images = torch.randn(16, 3, 16, 16).to(memory_format=torch.channels_last)
    labels = torch.randint(0, 4, (16,), generator=torch.Generator().manual_seed(1))
    mixture = Mixture(torch.rand(16), torch.rand(16), torch.zeros(16, 4, dtype=torch.int32)) if mixed else None
    class_weights = torch.tensor([0.5, 1.0, 2.0, 1.5]) if "class_weights" in values else None
    results = []
    for parts in (1, 2, 4, 8):
        step = TrainStep(config(accumulate=parts, **values), without_norms(), CPU, 0.1, class_weights=class_weights)
        results.append([*[step(images, labels, mixture) for _ in range(3)][2], *step.model.parameters()])
    for result in results[1:]:
        for whole, summed in zip(results[0], result, strict=True):
            torch.testing.assert_close(summed, whole)


def test_norms_see_one_part_at_a_time(config: Make) -> None:
    """The running mean is that of the parts in turn; the number of updates is that of the parts."""
    images, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 4
    step = TrainStep(config(accumulate=4), small_model(), CPU, 0.1)
    step(images, labels)
    assert step.model[1].num_batches_tracked == 4  # type: ignore[index]


class InMemory(torch.autograd.Function):
    """Values in memory that is always the same."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        del ctx
        return memory.copy_(values).view_as(memory)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        del ctx
        return gradients[0], None


def test_parts_keep_nothing_in_the_memory_of_a_compiled_graph(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CUDA graph gives its results, gradients too, in memory that its next run overwrites."""
    has_gradients: list[bool] = []
    memory = torch.empty(4, 4)

    def compiled(model: nn.Module, **_: Any) -> Any:
        def run(images: torch.Tensor) -> torch.Tensor:
            has_gradients.append(all(p.grad is not None for p in model.parameters()))
            logits = model(images)
            return InMemory.apply(logits, memory)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    images, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 4
    plain = TrainStep(config(), without_norms(), CPU, 0.1)
    step = TrainStep(config(accumulate=4, compile=True), without_norms(), CPU, 0.1)
    for _ in range(2):
        (_, expected), (_, logits) = plain(images, labels), step(images, labels)
        torch.testing.assert_close(logits, expected)
        addresses = [p.grad.data_ptr() for p in step.model.parameters() if p.grad is not None]
        step(images, labels)
        plain(images, labels)
        assert addresses == [p.grad.data_ptr() for p in step.model.parameters() if p.grad is not None]
    assert all(has_gradients)
    for a, b in zip(plain.model.parameters(), step.model.parameters(), strict=True):
        torch.testing.assert_close(b, a)


@pytest.mark.parametrize(
    ("values", "multiple"), [({"accumulate": 3}, 3), ({"accumulate": 32}, 32), ({"accumulate": 8, "mixup": 0.2}, 16)]
)
def test_parts_must_be_equal(config: Make, values: dict[str, Any], multiple: int) -> None:
    with pytest.raises(InputError, match=rf"^accumulate=.*make batch_size a multiple of {multiple}$"):
        TrainStep(config(batch_size=8 if multiple == 16 else 16, **values), small_model(), CPU, 0.1)


@pytest.mark.gpu
def test_compiled_training_on_the_gpu(config: Make) -> None:
    step = TrainStep(config(device="cuda", compile=True), small_model(), torch.device("cuda"), 0.01)
    plain = TrainStep(config(device="cuda"), small_model(), torch.device("cuda"), 0.01)
    images = torch.randn(16, 3, 16, 16, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.arange(16, device="cuda") % 4
    for _ in range(3):
        a, _ = step(images, labels)
        b, _ = plain(images, labels)
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize(
    "values", [{}, {"amp": True, "amp_dtype": "bf16"}, {"optimizer": "adamw"}, {"optimizer": "muon"}]
)
def test_a_step_on_the_gpu_waits_for_nothing(config: Make, values: dict[str, Any]) -> None:
    step = TrainStep(config(device="cuda", **values), small_model(), torch.device("cuda"), 0.01)
    images = torch.randn(16, 3, 16, 16, device="cuda").to(memory_format=torch.channels_last)
    labels = torch.arange(16, device="cuda") % 4
    for number in range(6):
        waits = number in (0, 1, WARM_UP)  # the first steps, and the one in which Muon's is captured
        torch.cuda.set_sync_debug_mode("default" if waits else "error")
        try:
            step(images, labels)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert getattr(step.optimizer, "replays", True)


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["dali", "torch"])
@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_graphs_with_a_loader_that_works_meanwhile(
    config: Make, trainer: Build, engine: str, mode: str, optimizer: str
) -> None:
    """A loader's threads neither break the capture of a CUDA graph nor change what it computes."""
    losses: list[float] = []
    for changes in ({}, {"compile": True, "compile_mode": mode}):
        c = config(device="cuda", engine=engine, store="resident", epochs=2, optimizer=optimizer, **changes)
        run = trainer(c, f"{engine}-{mode}-{optimizer}-{len(losses)}")
        losses.append(run.fit()["last"]["train_loss"])
        replays = optimizer == "muon" and not (changes and mode == "default")
        assert getattr(run.state.step.optimizer, "replays", False) is replays
    assert losses[1] == pytest.approx(losses[0], rel=1e-2 if optimizer == "sgd" else 5e-2)


@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_parts_of_a_batch_in_compiled_graphs(config: Make, mode: str) -> None:
    images, labels = torch.randn(16, 3, 16, 16, device="cuda"), torch.arange(16, device="cuda") % 4
    images = images.to(memory_format=torch.channels_last)
    plain = TrainStep(config(device="cuda", accumulate=4), small_model(), torch.device("cuda"), 0.01)
    changes = {"compile": True, "compile_mode": mode}
    step = TrainStep(config(device="cuda", accumulate=4, **changes), small_model(), torch.device("cuda"), 0.01)
    for _ in range(5):
        (loss, logits), (expected_loss, expected) = step(images, labels), plain(images, labels)
        torch.testing.assert_close(loss, expected_loss, atol=1e-2, rtol=1e-2)
        torch.testing.assert_close(logits, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.gpu
def test_after_memory_ran_out_training_goes_on(config: Make) -> None:
    step = TrainStep(config(device="cuda"), small_model(), torch.device("cuda"), 0.01)
    images, labels = torch.randn(16, 3, 16, 16, device="cuda"), torch.arange(16, device="cuda") % 4
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(2**45, dtype=torch.uint8, device="cuda")
    loss, _ = step(images, labels)
    assert loss.isfinite()
