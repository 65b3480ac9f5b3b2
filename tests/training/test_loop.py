import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline import Dataset, InputError
from feedline.cli.build import make_loader
from feedline.training import checkpoint, loop
from feedline.training.loop import Trainer
from feedline.training.snapshot import Snapshot
from tests.training.conftest import Build, Make, same, small_model, weights
from tests.training.test_state import KINDS


@pytest.mark.parametrize("engine", ["dali", "torch"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_give_the_same_bits(config: Make, trainer: Build, kind: str, engine: str) -> None:
    c = config(engine=engine, **KINDS[kind])
    a, b = trainer(c, "a"), trainer(c, "b")
    a.fit()
    b.fit()
    assert same(weights(a), weights(b))


def test_it_learns(config: Make, trainer: Build) -> None:
    result = trainer(config(epochs=12, optimizer="adamw", max_lr=0.02, image_size=32, padding=2)).fit()
    assert result["best"]["val_top1"] > 40, "chance is 25 %"
    assert result["last"]["train_loss"] < 1.35, "chance is 1.39"


def test_the_rate_of_a_short_run_is_drawn_step_by_step(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=2, log_every=1000))
    run.fit()
    steps = len(run.train)
    assert [epochs for epochs, _ in run.state.position.lrs] == [
        k // steps + k % steps / steps for k in range(2 * steps)
    ]
    assert max(lr for _, lr in run.state.position.lrs) == pytest.approx(run.config.optim.max_lr, rel=0.02)


def test_each_epoch_has_the_rate_of_its_last_step(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few rates are drawn."""
    every = trainer(config(epochs=4), "a")
    every.fit()
    steps, rates = len(every.train), [lr for _, lr in every.state.position.lrs]
    monkeypatch.setattr(loop, "DRAWN_RATES", 2)
    run = trainer(config(epochs=4), "b")
    run.fit()
    last = [rates[(epoch + 1) * steps - 1] for epoch in range(4)]
    assert [row["lr"] for row in run.state.position.history] == last
    assert [lr for _, lr in run.state.position.lrs] == [rates[0], *last[:2], rates[2 * steps], *last[2:]]


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
def test_a_run_can_be_resumed_after_an_image_was_missing(
    config: Make, trainer: Build, dataset: Dataset, tmp_path: Path, store: str
) -> None:
    """The error names the image, and the run is saved. Resumed with the image restored, the result is the same.

    A file that is cut while a thread reads its mapping ends the process, so packs are cut between two epochs.
    """
    whole = trainer(config(store=store), "whole")
    whole.fit()
    copy = Path(shutil.copytree(dataset.root, tmp_path / "copy"))
    c = config(store=store, data=str(copy))
    damaged = copy / dataset.path(5) if store == "files" else next((copy / "packs" / store).glob("*.bin"))

    def build(snapshot: Snapshot | None = None, **options: Any) -> Trainer:
        device = torch.device("cpu")
        train, val = (make_loader(c, Dataset(copy), part, device) for part in ("train", "val"))
        return Trainer(c, small_model(), train, val, tmp_path / "run", snapshot, **options)

    def lose(record: Mapping[str, Any]) -> None:
        if record["step"] == 4 if store == "files" else "val_top1" in record and record["epoch"] == 1:
            if store == "files":
                damaged.rename(tmp_path / "aside")
            else:
                shutil.copy(damaged, tmp_path / "aside")
                os.truncate(damaged, 100)

    with pytest.raises(InputError, match=r"steps before it are saved, resume with resume=") as caught:
        build(on_record=lose).fit()
    assert str(damaged) in str(caught.value) or str(damaged.parent) in str(caught.value)
    shutil.copy(tmp_path / "aside", damaged)
    rest = build(checkpoint.load_last(tmp_path / "run"))
    assert rest.state.global_step >= 4
    images, seconds = rest.state.steady
    assert images * seconds > 0, "the steps behind the first are saved with their time"
    rest.fit()
    assert same(weights(rest), weights(whole))


@pytest.mark.gpu
@pytest.mark.parametrize("amp_dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("store", ["jpeg", "raw", "resident"])
def test_training_on_the_gpu(config: Make, trainer: Build, amp_dtype: str, store: str) -> None:
    c = config(device="cuda", amp=True, amp_dtype=amp_dtype, store=store, epochs=4, ema=0.9)
    result = trainer(c, f"{store}-{amp_dtype}").fit()
    assert math.isfinite(result["last"]["train_loss"])
    assert result["memory"]["gpu_mib"] > 0
