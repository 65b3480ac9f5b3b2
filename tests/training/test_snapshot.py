from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, InputError
from feedline.training import checkpoint
from feedline.training.snapshot import RunPosition, Snapshot
from feedline.training.state import TrainState
from tests.training.conftest import Build, Make, same


def test_a_snapshot_can_be_restored_from_its_dict(state: TrainState) -> None:
    state.position = RunPosition(1, 2, 3.0, 0.5, 1.0, [{"epoch": 1, "val_top1": 25.0}], [(0.5, 0.1)])
    snapshot = state.snapshot(25.0)
    again = Snapshot.from_dict(snapshot.to_dict())
    assert (again.config, again.position, again.val_top1) == (snapshot.config, snapshot.position, 25.0)
    assert same(again.weights, snapshot.weights)
    assert again.position is not state.position, "later steps do not change the snapshot"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not a checkpoint of this program"),
        ({"version": 1}, "checkpoint version 1, this program reads 2"),
        ({"model": None}, "not a complete checkpoint (model is a NoneType)"),
        ({"average_updates": True}, "not a complete checkpoint (average_updates is a bool)"),
        ({"position": {}}, "not a complete checkpoint (position.epoch is missing)"),
        ({"config": {"epochs": "many"}}, "epochs=many: must be a whole number"),
        ({"config": {"epochs": 0}}, "epochs=0: must be at least 1 and below 1,000,000"),
    ],
)
def test_a_wrong_entry_is_named(state: TrainState, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Snapshot.from_dict({**state.snapshot().to_dict(), **changes})
    assert str(caught.value) == message


def test_wrong_learning_rates_are_refused(state: TrainState) -> None:
    content = state.snapshot().to_dict()
    content["position"]["lrs"] = [[1]]
    with pytest.raises(InputError, match=r"position\.lrs is not a list of pairs"):
        Snapshot.from_dict(content)


def test_keys_that_an_old_checkpoint_lacks_get_defaults(state: TrainState) -> None:
    content = state.snapshot().to_dict()
    del content["config"]["sync_bn"]
    assert Snapshot.from_dict(content).config == state.config


def test_a_checkpoint_of_another_dataset_is_refused(state: TrainState, varied: Dataset) -> None:
    state.snapshot().check_dataset(state.train.folder, Path("last.pt"))
    with pytest.raises(InputError, match=r"last.pt: was trained on another dataset \(4 classes"):
        state.snapshot().check_dataset(varied, Path("last.pt"))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_snapshot_for_use_holds_the_weights_to_evaluate(config: Make, trainer: Build, ema: float) -> None:
    """And nothing that only a resumed run needs."""
    run = trainer(config(epochs=1, ema=ema))
    run.fit()
    last, best = (checkpoint.load(run.out / name) for name in ("last.pt", "best.pt"))
    assert (last.resumable, best.resumable) == (True, False)
    assert same(best.weights, last.weights)
    assert best.words == [c.words for c in run.train.folder.classes]
    assert (best.average, best.optimizer) == (None, {})
    assert (run.out / "best.pt").stat().st_size < (run.out / "last.pt").stat().st_size
