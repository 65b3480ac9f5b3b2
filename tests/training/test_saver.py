import errno
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.training import checkpoint, loop
from feedline.training.reporter import Record
from feedline.training.saver import Saver
from feedline.training.snapshot import Snapshot
from feedline.training.stopping import Stopping
from tests.training.conftest import Build, Make, fit_until, same

Saved = list[tuple[str, int]]


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> Saved:
    """Collects names and steps of the checkpoints that a run saves, without writing them."""
    names: Saved = []

    def save(path: Path, snapshot: Snapshot, keep: Path | None = None) -> None:
        names.append((path.name, snapshot.position.step))

    monkeypatch.setattr(checkpoint, "save", save)
    return names


def test_what_a_killed_process_left_is_removed(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=1))
    run.out.mkdir(exist_ok=True)
    for name in ("last.pt.tmp", "best.pt.tmp", "predictions.npz.tmp", "notes.txt", "notes.tmp"):
        (run.out / name).write_bytes(b"half")
    (run.out / "more.tmp").mkdir()
    run.fit()
    assert sorted(path.name for path in run.out.glob("*.tmp")) == ["more.tmp", "notes.tmp"], "no file of a run"
    assert (run.out / "notes.txt").exists()


def test_saves_in_mid_epoch(config: Make, trainer: Build, saved: Saved) -> None:
    run = trainer(config(save_every=2, epochs=1))
    run.fit()
    assert len(run.train) == 6
    assert saved == [("last.pt", 2), ("last.pt", 4), ("best.pt", 0), ("last.pt", 0)]


@pytest.mark.parametrize(("seconds", "steps"), [(1, []), (50, [3]), (60, [2, 4]), (1000, [1, 2, 3, 4, 5])])
def test_saves_by_the_clock(config: Make, trainer: Build, saved: Saved, seconds: int, steps: list[int]) -> None:
    """Every two minutes, with steps of a given length, and at the end of the epoch."""
    now = [0.0]

    def pass_time(_: Record) -> None:
        now[0] += seconds

    c = config(save_every="2m", epochs=1, log_every=1)
    run = trainer(c, clock=lambda: now[0], on_record=pass_time)
    run.fit()
    assert len(run.train) == 6
    assert saved == [*(("last.pt", step) for step in steps), ("best.pt", 0), ("last.pt", 0)]


class Ahead(Saver):
    """A thread writes, as on a GPU."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._ahead = True


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "Saver", Ahead)


def test_a_thread_writes_what_the_loop_would(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of its moment, though training goes on before it is written."""
    c = config(epochs=4, ema=0.9, save_every=1)
    here = trainer(c, "here")
    here.fit()
    monkeypatch.setattr(loop, "Saver", Ahead)
    there, save = trainer(c, "there"), checkpoint.save
    writers: set[str] = set()
    steps: list[int] = []

    def late(path: Path, snapshot: Snapshot, keep: Path | None = None) -> None:
        writers.add(threading.current_thread().name)
        time.sleep(0.02)  # training goes on
        save(path, snapshot, keep)
        steps.append(snapshot.position.epoch * 6 + snapshot.position.step)

    monkeypatch.setattr(checkpoint, "save", late)
    there.fit()
    assert writers == {"feedline-saver_0"}
    assert steps == sorted(steps)
    assert steps[-1] == 24
    for name in ("best.pt", "last.pt", "previous.pt"):
        a, b = (checkpoint.load(run.out / name) for run in (here, there))
        assert same(a.weights, b.weights)
        assert same(a.model, b.model)
        assert torch.equal(a.rng, b.rng)
        assert (a.position.epoch, a.position.step, a.average_updates) == (
            b.position.epoch, b.position.step, b.average_updates,
        )  # fmt: skip
        for number, momenta in a.optimizer.get("state", {}).items():
            assert same(momenta, b.optimizer["state"][number])


@pytest.mark.usefixtures("ahead")
def test_an_interrupted_run_waits_for_its_checkpoint(config: Make, trainer: Build) -> None:
    run = fit_until(trainer, config(epochs=3, log_every=1), "run", 8)
    assert checkpoint.load(run.out / "last.pt").position.step == 2


@pytest.mark.usefixtures("ahead")
def test_the_last_checkpoint_names_no_best_one_that_was_not_written(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = checkpoint.save

    def no_second_best(path: Path, snapshot: Snapshot, keep: Path | None = None) -> None:
        if path.name == "best.pt" and snapshot.position.epoch > 1:
            raise OSError(errno.EIO, "Input/output error")
        save(path, snapshot, keep)

    monkeypatch.setattr(checkpoint, "save", no_second_best)
    run = trainer(config(epochs=12))
    with pytest.raises(OSError, match="Input/output error"):
        run.fit()
    epochs = [checkpoint.load(run.out / name).position for name in ("best.pt", "last.pt")]
    assert epochs[1].best_epoch("val_top1") == epochs[0].epoch == 1


@pytest.mark.usefixtures("ahead")
def test_signals_have_something_to_stop_until_all_is_written(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before that a second one would lose the checkpoint that the first one asked for."""
    save, seen = checkpoint.save, []

    def slow(*args: Any) -> None:
        time.sleep(0.05)
        save(*args)
        seen.append("written")

    monkeypatch.setattr(checkpoint, "save", slow)
    monkeypatch.setattr(loop, "over", lambda *_, **__: seen.append("over"))
    fit_until(trainer, config(epochs=1, log_every=1), "stopped", 2)
    assert seen == ["written", "over"]
    trainer(config(epochs=1), "whole").fit()
    assert seen == ["written", "over", "written", "written", "over"]


@pytest.mark.usefixtures("ahead")
def test_a_trainer_goes_on_after_it_was_stopped(config: Make, trainer: Build) -> None:
    run = fit_until(trainer, config(epochs=2, log_every=1), "run", 3)
    run.stopping = Stopping()
    run.fit()
    assert checkpoint.load(run.out / "last.pt").position.epoch == 2


@pytest.mark.usefixtures("ahead")
def test_what_goes_wrong_in_the_thread_ends_the_run(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    run = trainer(config(epochs=20))
    with pytest.raises(OSError, match="No space left"):
        run.fit()
    assert run.state.position.epoch < 4
