from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.errors import InputError
from feedline.pipeline.permutation import BlockPermutation, Permutation
from feedline.pipeline.philox import philox
from feedline.pipeline.plan import Augment, Blocks, Plan

Ids = NDArray[np.int64]


def sized(height: int, width: int) -> Callable[[Ids], Ids]:
    return lambda ids: np.tile(np.array([height, width]), (len(ids), 1))


def make(n: int = 1000, **changes: Any) -> Plan:
    options: dict[str, Any] = {
        "batch_size": 64,
        "augment": Augment((64, 64), "pad", padding=4, flip=True),
        "shuffle": True,
    }
    return Plan(np.arange(n, dtype=np.int64), sized(64, 64), **{**options, **changes})


def test_philox_gives_the_known_answers_of_random123() -> None:
    # kat_vectors of Salmon et al.'s Random123: counter, key, answer.
    zero = philox(np.array([0]), seed=0, epoch=0, stream=0)
    assert [int(w[0]) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    counter = np.array([0x85A308D3243F6A88], dtype=np.uint64).astype(np.int64)
    pi = philox(counter, seed=0x299F31D0A4093822, epoch=0x13198A2E, stream=0x03707344)
    assert [int(w[0]) for w in pi] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 65, 1000, 4097])
def test_a_permutation_is_one(n: int) -> None:
    out = Permutation(n, seed=3, epoch=5)(np.arange(n, dtype=np.int64))
    assert sorted(out.tolist()) == list(range(n))


def test_a_permutation_of_a_hundred_million_is_computed_where_asked() -> None:
    order = Permutation(10**8, seed=0, epoch=0)
    slots = np.array([0, 1, 10**8 - 1], dtype=np.int64)
    once, again = order(slots), np.concatenate([order(slots[i : i + 1]) for i in range(3)])
    assert once.tolist() == again.tolist()
    assert len(set(once.tolist())) == 3
    assert once.min() >= 0
    assert once.max() < 10**8


def numpys(n: int, epoch: int) -> Ids:
    return np.random.default_rng([n, epoch]).permutation(n)


def computed(n: int, epoch: int) -> Ids:
    return Permutation(n, seed=11, epoch=epoch)(np.arange(n, dtype=np.int64))


def in_one_group(n: int, epoch: int) -> Ids:
    """Blocks of one image each, all in one group: as free as a permutation."""
    order = BlockPermutation(n, block=1, group=n, seed=11, epoch=epoch)
    return order(np.arange(n, dtype=np.int64))


@pytest.mark.parametrize("n", [3, 10, 53])
@pytest.mark.parametrize("make_order", [computed, in_one_group, numpys])
def test_permutations_are_uniform(make_order: Callable[[int, int], Ids], n: int) -> None:
    """Position by position, neighbours and fixed points, over many epochs: within 5 sigma of chance, as numpy's own."""
    epochs = 1500
    places, pairs, fixed = np.zeros((n, n)), np.zeros((n, n)), 0
    slots = np.arange(n, dtype=np.int64)
    for epoch in range(epochs):
        p = make_order(n, epoch)
        places[slots, p] += 1
        pairs[p[:-1], p[1:]] += 1
        fixed += int((p == slots).sum())

    def sigmas(counts: NDArray[np.float64], freedom: int) -> float:
        expected = counts.mean()
        return abs(((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom)

    assert sigmas(places, (n - 1) ** 2) < 5
    assert sigmas(pairs[~np.eye(n, dtype=bool)], n * (n - 1) - 1) < 5
    assert abs(fixed - epochs) < 5 * np.sqrt(epochs)


@pytest.mark.parametrize(("n", "block", "group"), [(1000, 16, 4), (1024, 16, 4), (37, 5, 3), (37, 50, 1), (7, 1, 1)])
def test_blocks_are_read_group_by_group(n: int, block: int, group: int) -> None:
    for epoch in range(20):
        order = BlockPermutation(n, block=block, group=group, seed=1, epoch=epoch)
        out = order(np.arange(n, dtype=np.int64))
        assert sorted(out.tolist()) == list(range(n))
        groups = -(-order.blocks // group)
        assert [order.start(0), order.start(groups)] == [0, n]
        for number in range(groups):
            slots = range(order.start(number), order.start(number + 1))
            assert {order.group_of(slot) for slot in slots} == {number}
            assert set((out[slots.start : slots.stop] // block).tolist()) == set(order.blocks_of(number).tolist())
        pieces = [order(np.arange(i, min(i + 3, n), dtype=np.int64)) for i in range(0, n, 3)]
        assert np.concatenate(pieces).tolist() == out.tolist()


def test_every_block_is_announced_once_and_before_its_images() -> None:
    plan = make(1000, batch_size=50, blocks=Blocks(images=30, group=5))
    for first in (0, 7):
        known: set[int] = set()
        for k in range(first, len(plan)):
            for ids in plan.soon(2, k, first):
                assert not known & set(ids.tolist())
                known |= set(ids.tolist())
            assert set(plan.batch(2, k).ids.tolist()) <= known
    assert make(1000).soon(2, 0) == []


def test_an_epoch_covers_every_image_and_epochs_differ() -> None:
    plan = make(640)
    orders = [np.concatenate([plan.batch(e, k).ids for k in range(len(plan))]).tolist() for e in range(3)]
    assert len(plan) == 10
    for order in orders:
        assert sorted(order) == list(range(640))
    assert orders[0] != orders[1] != orders[2]


def test_train_drops_the_incomplete_batch_and_eval_keeps_it() -> None:
    train, val = make(1000), make(1000, shuffle=False, augment=Augment((64, 64)))
    assert [len(train.batch(0, k)) for k in range(len(train))] == [64] * 15
    sizes = [len(val.batch(0, k)) for k in range(len(val))]
    assert sizes == [64] * 15 + [40]
    assert np.concatenate([val.batch(0, k).ids for k in range(16)]).tolist() == list(range(1000))


def undergone(plan: Plan, epoch: int) -> dict[int, tuple[Any, ...]]:
    """What every image of an epoch undergoes."""
    found = {}
    for k in range(len(plan)):
        batch = plan.batch(epoch, k)
        for image, window, flip in zip(batch.ids, batch.window, batch.flip, strict=True):
            found[int(image)] = (*window.tolist(), bool(flip))
    return found


def test_what_an_image_undergoes_does_not_depend_on_batch_size_order_or_split() -> None:
    base = undergone(make(960), 4)
    assert undergone(make(960, batch_size=96), 4) == base
    backwards = Plan(np.arange(960)[::-1], sized(64, 64), batch_size=64, augment=make().augment, shuffle=True)
    assert undergone(backwards, 4) == base
    half = undergone(Plan(np.arange(480), sized(64, 64), batch_size=32, augment=make().augment, shuffle=True), 4)
    assert all(base[image] == what for image, what in half.items())
    assert undergone(make(960), 5) != base
    assert undergone(make(960, seed=1), 4) != base


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    small, large = make(960, batch_size=32), make(960, batch_size=96)
    a = np.concatenate([small.batch(2, k).ids for k in range(30)])
    b = np.concatenate([large.batch(2, k).ids for k in range(10)])
    assert a.tolist() == b.tolist()


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


def test_batches_can_be_asked_for_in_any_order() -> None:
    plan = make(64 * 200)
    ahead = [plan.batch(0, k).ids.tolist() for k in (150, 3, 199, 0)]
    fresh = [make(64 * 200).batch(0, k).ids.tolist() for k in (150, 3, 199, 0)]
    assert ahead == fresh


def test_pad_windows_and_flips_are_uniform() -> None:
    plan = make(81 * 200, batch_size=81 * 200)
    batch = plan.batch(0, 0)
    assert set(map(tuple, batch.window[:, 2:].tolist())) == {(64, 64)}
    counts = np.bincount((batch.window[:, 0] + 4) * 9 + batch.window[:, 1] + 4, minlength=81)
    assert len(counts) == 81
    assert ((counts - 200) ** 2 / 200).sum() < 80 + 5 * np.sqrt(160)
    assert abs(batch.flip.mean() - 0.5) < 0.02


def test_random_resized_windows_lie_inside_and_have_the_asked_area_and_ratio() -> None:
    plan = make(4096, batch_size=4096, augment=Augment((32, 32), "random-resized"))
    plan.sizes = sized(90, 120)
    y, x, h, w = plan.batch(0, 0).window.T.astype(float)
    assert (y >= 0).all()
    assert (x >= 0).all()
    assert (y + h <= 90).all()
    assert (x + w <= 120).all()
    share = h * w / (90 * 120)
    assert 0.07 < share.min() < 0.1
    assert share.max() > 0.9
    # A side is rounded to a pixel, so the ratio of small windows may pass its bounds a little.
    assert (w / h).min() > 0.75 - 0.03
    assert (w / h).max() < 4 / 3 + 0.06


def test_center_takes_the_middle_in_the_shape_of_the_output() -> None:
    plan = Plan(np.arange(1), sized(100, 60), batch_size=1, augment=Augment((32, 32), crop_fraction=0.5), shuffle=False)
    assert plan.batch(0, 0).window.tolist() == [[35, 15, 30, 30]]


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(InputError, match="only 10 images"):
        make(10)
    with pytest.raises(InputError, match="no image"):
        make(0)
    with pytest.raises(InputError, match="multiple of the 3"):
        make(100, world_size=3)
    with pytest.raises(IndexError):
        make(128).batch(0, 2)


def test_compiled_and_plain_plans_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order and the windows of a run do not depend on whether there was a C compiler."""
    kernels = compiled.kernels
    if kernels is None:
        pytest.skip("the kernels are not compiled here: there was no C compiler when this was installed")
    rng = np.random.default_rng(0)
    for n in (1, 2, 24, 25, 26, 1000, 110_000, 10**9, 2**61):
        slots = np.arange(n) if n <= 1000 else rng.integers(0, n, 1000)
        for seed in (0, 7, 2**63 + 1):
            found = []
            for there in (kernels, None):
                monkeypatch.setattr(compiled, "kernels", there)
                order = Permutation(n, seed=seed, epoch=seed % 5)(slots)
                found.append((order, *philox(slots, seed=seed, epoch=3, stream=1)))
            assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
