from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.plan.permutation import BlockPermutation, Permutation

Ids = NDArray[np.int64]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 64, 65, 1000, 4097])
def test_a_permutation_is_one(n: int) -> None:
    out = Permutation(n, seed=3, epoch=5)(np.arange(n, dtype=np.int64))
    assert sorted(out.tolist()) == list(range(n))


def test_a_permutation_of_a_hundred_million_is_computed_only_for_the_given_slots() -> None:
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
    """Blocks of one image each, all in one group: equivalent to a permutation."""
    order = BlockPermutation(n, block=1, group=n, seed=11, epoch=epoch)
    return order(np.arange(n, dtype=np.int64))


@pytest.mark.parametrize("n", [3, 10, 53])
@pytest.mark.parametrize("make_order", [computed, in_one_group, numpys])
def test_permutations_are_uniform(make_order: Callable[[int, int], Ids], n: int) -> None:
    """Positions, neighbours and fixed points over many epochs are within 5 sigma of chance, as numpy's are."""
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


@pytest.mark.usefixtures("needs_kernels")
@pytest.mark.parametrize("n", [1, 2, 24, 25, 26, 1000, 110_000, 10**9, 2**61])
def test_compiled_and_plain_orders_are_the_same(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    """The order of a run does not depend on whether there was a C compiler."""
    slots = np.arange(n) if n <= 1000 else np.random.default_rng(0).integers(0, n, 1000)
    for seed in (0, 7, 2**63 + 1):
        orders: list[Ids] = []
        for there in (compiled.kernels, None):
            with monkeypatch.context() as patch:
                patch.setattr(compiled, "kernels", there)
                orders.append(Permutation(n, seed=seed, epoch=seed % 5)(slots))
        assert np.array_equal(orders[0], orders[1])
