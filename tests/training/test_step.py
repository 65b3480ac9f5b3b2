import pytest
import torch

from feedline.training.step import TrainStep
from tests.training.conftest import Build, Make, small_model


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
