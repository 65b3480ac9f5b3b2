from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feedline import InputError
from feedline.pipeline.augment import Augmentations, Center, ColorJitter, Erasing, Flip, PadCrop
from feedline.pipeline.plan import Plan
from tests.pipeline.loading import all_differ

Ids = NDArray[np.int64]


def sized(height: int, width: int) -> Callable[[Ids], Ids]:
    return lambda ids: np.tile(np.array([height, width]), (len(ids), 1))


def make(n: int = 1000, **changes: Any) -> Plan:
    options: dict[str, Any] = {
        "batch_size": 64,
        "augment": Augmentations((64, 64), PadCrop(4), Flip()),
        "shuffle": True,
    }
    return Plan(np.arange(n, dtype=np.int64), sized(64, 64), **{**options, **changes})


def test_an_epoch_covers_every_image_and_epochs_differ() -> None:
    plan = make(640)
    orders = [np.concatenate([plan.batch(e, k).ids for k in range(len(plan))]).tolist() for e in range(3)]
    assert len(plan) == 10
    for order in orders:
        assert sorted(order) == list(range(640))
    assert all_differ(orders)


def test_train_drops_the_incomplete_batch_and_eval_keeps_it() -> None:
    train, val = make(1000), make(1000, shuffle=False, augment=Augmentations((64, 64), Center()))
    assert [len(train.batch(0, k)) for k in range(len(train))] == [64] * 15
    sizes = [len(val.batch(0, k)) for k in range(len(val))]
    assert sizes == [64] * 15 + [40]
    assert np.concatenate([val.batch(0, k).ids for k in range(16)]).tolist() == list(range(1000))


def windows_and_flips(plan: Plan, epoch: int) -> dict[int, tuple[Any, ...]]:
    """The window and flip of every image of an epoch."""
    undergone: dict[int, tuple[Any, ...]] = {}
    for k in range(len(plan)):
        batch = plan.batch(epoch, k)
        for image, window, flip in zip(batch.ids, batch.window, batch.flip, strict=True):
            undergone[int(image)] = (*window.tolist(), bool(flip))
    return undergone


def test_window_and_flip_do_not_depend_on_batch_size_order_or_split() -> None:
    base = windows_and_flips(make(960), 4)
    assert windows_and_flips(make(960, batch_size=96), 4) == base
    backwards = Plan(np.arange(960)[::-1], sized(64, 64), batch_size=64, augment=make().augment, shuffle=True)
    assert windows_and_flips(backwards, 4) == base
    half = windows_and_flips(
        Plan(np.arange(480), sized(64, 64), batch_size=32, augment=make().augment, shuffle=True), 4
    )
    assert all(base[image] == what for image, what in half.items())
    assert windows_and_flips(make(960), 5) != base
    assert windows_and_flips(make(960, seed=1), 4) != base


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    small, large = make(960, batch_size=32), make(960, batch_size=96)
    a = np.concatenate([small.batch(2, k).ids for k in range(30)])
    b = np.concatenate([large.batch(2, k).ids for k in range(10)])
    assert a.tolist() == b.tolist()


def test_edits_depend_on_seed_epoch_and_image_alone() -> None:
    augment = Augmentations((64, 64), PadCrop(4), Flip(), (ColorJitter(), Erasing(p=0.5)))

    def undergone(epoch: int, **changes: Any) -> dict[int, Any]:
        plan = make(960, augment=augment, **changes)
        batches = [plan.batch(epoch, k) for k in range(len(plan))]
        edits = [(b.edits[0].parts["color"], b.edits[1].parts["erase"]) for b in batches]
        return {
            int(image): (colors[i].tolist(), boxes[i].tolist())
            for batch, (colors, boxes) in zip(batches, edits, strict=True)
            for i, image in enumerate(batch.ids)
        }

    base = undergone(4)
    assert len(base) == 960
    assert undergone(4, batch_size=96) == base
    halves = [undergone(4, batch_size=64, rank=rank, world_size=2) for rank in range(2)]
    assert {**halves[0], **halves[1]} == base
    assert undergone(5) != base != undergone(4, seed=1)


@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_ranks_share_each_global_batch(world_size: int, shuffle: bool) -> None:
    whole = make(1001, shuffle=shuffle)
    ranks = [make(1001, shuffle=shuffle, rank=r, world_size=world_size) for r in range(world_size)]
    for k in range(len(whole)):
        shares = [plan.batch(1, k) for plan in ranks]
        expected = whole.batch(1, k)
        assert np.concatenate([s.ids for s in shares]).tolist() == expected.ids.tolist()
        assert np.concatenate([s.window for s in shares]).tolist() == expected.window.tolist()
        assert np.concatenate([s.flip for s in shares]).tolist() == expected.flip.tolist()


def test_batches_can_be_computed_in_any_order() -> None:
    plan = make(64 * 200)
    ahead = [plan.batch(0, k).ids.tolist() for k in (150, 3, 199, 0)]
    fresh = [make(64 * 200).batch(0, k).ids.tolist() for k in (150, 3, 199, 0)]
    assert ahead == fresh


def test_a_wrong_plan_is_refused() -> None:
    with pytest.raises(InputError, match="only 10 images"):
        make(10)
    with pytest.raises(InputError, match="no image"):
        make(0)
    with pytest.raises(InputError, match="multiple of world_size=3"):
        make(100, world_size=3)
    with pytest.raises(IndexError):
        make(128).batch(0, 2)
