import pytest

from feedline.progress import Progress
from feedline.training.forecast import seconds_left
from tests.training.conftest import Build, Make


def test_time_goes_with_pixels_epochs_and_evaluations(config: Make, trainer: Build) -> None:
    """96 train and 32 val images; at 96 images/s an epoch takes a second, at twice the side four."""
    run = trainer(config(epochs=4, image_size="16@0,32@2", eval_size=32, eval_every=2, tta=True))
    assert run.val.output(0) == (32, 32)
    evaluations = 2 * (32 * 2 * 4 / 3) / 96  # two of them, two views, four times the pixels, a third of a step
    assert seconds_left(run.state, run.val, 96) == pytest.approx(1 + 1 + 4 + 4 + evaluations)
    run.state.position.step = 3  # of 6
    assert seconds_left(run.state, run.val, 96) == pytest.approx(0.5 + 1 + 4 + 4 + evaluations)


def test_evaluations_take_as_long_as_those_before(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=2))
    run.fit()
    position = run.state.position
    position.epoch, position.eval_seconds = 1, 14.0  # of two evaluations
    assert seconds_left(run.state, run.val, 96) == pytest.approx(1 + 7)


def test_lines_of_progress_say_how_long_it_will_take(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Progress, "LINE_EVERY", -1.0)
    trainer(config(epochs=2, log_every=1)).fit()
    lines = [line for line in capsys.readouterr().out.splitlines() if " step " in line]
    assert len(lines) == 12
    assert " left  LR " not in lines[0], "the first step says nothing about the others"
    assert all(" s left  LR " in line for line in lines[1:6])
