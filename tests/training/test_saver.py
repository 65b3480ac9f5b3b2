from pathlib import Path

import pytest

from feedline.training import checkpoint
from feedline.training.reporter import Record
from feedline.training.snapshot import Snapshot
from tests.training.conftest import Build, Make

Saved = list[tuple[str, int]]


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> Saved:
    """Collects names and steps of the checkpoints that a run saves, without writing them."""
    names: Saved = []

    def save(path: Path, snapshot: Snapshot, keep: Path | None = None) -> None:
        names.append((path.name, snapshot.position.step))

    monkeypatch.setattr(checkpoint, "save", save)
    return names


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
