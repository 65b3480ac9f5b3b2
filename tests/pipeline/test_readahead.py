from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from feedline import Dataset, PlanBatch
from feedline.pipeline.augment import Augmentations, Center
from feedline.pipeline.plan import Blocks, Plan
from feedline.pipeline.readahead import coming_blocks, read_ahead, runs
from feedline.pipeline.stores import RawStore


class Listening(RawStore):
    """Records the calls."""

    def __init__(self, dataset: Dataset, *, large: bool) -> None:
        super().__init__(dataset)
        self.large = large
        self.named: list[int] = []

    def will_need(self, firsts: NDArray[np.int64], lasts: NDArray[np.int64]) -> None:
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            self.named += range(first, last + 1)


def make(n: int = 1000, **changes: Any) -> Plan:
    options: dict[str, Any] = {"batch_size": 50, "shuffle": True, "augment": Augmentations((64, 64), Center())}
    sizes = lambda ids: np.broadcast_to(np.array([64, 64]), (len(ids), 2))  # noqa: E731
    return Plan(np.arange(n, dtype=np.int64), sizes, **{**options, **changes})


def followed(plan: Plan, store: Listening, first: int = 0) -> Iterator[tuple[PlanBatch, set[int]]]:
    """Each batch, with the calls to the store before it."""
    for k, batch in enumerate(read_ahead(plan, store, 2, first), first):
        assert batch.ids.tolist() == plan.batch(2, k).ids.tolist()
        yield batch, set(store.named)


@pytest.mark.parametrize(
    ("ids", "single", "wanted"),
    [
        ([5, 6, 7, 20, 39, 0], True, [(5, 7), (20, 20), (39, 39), (0, 0)]),
        ([5, 6, 7, 20, 39, 0], False, [(5, 7)]),
        ([3, 2, 1], False, []),
        ([0, 1, 4, 5], False, [(0, 1), (4, 5)]),
        ([9], True, [(9, 9)]),
        ([9], False, []),
    ],
)
def test_neighbours_form_runs(ids: list[int], single: bool, wanted: list[tuple[int, int]]) -> None:
    firsts, lasts = runs(np.array(ids, dtype=np.int64), single=single)
    assert list(zip(firsts.tolist(), lasts.tolist(), strict=True)) == wanted


@pytest.mark.parametrize("first", [0, 7])
def test_every_block_is_named_once_and_before_its_images(first: int) -> None:
    plan = make(blocks=Blocks(images=30, group=5))
    known: set[int] = set()
    for k in range(first, len(plan)):
        for ids in coming_blocks(plan, 2, k, first):
            assert not known & set(ids.tolist())
            known |= set(ids.tolist())
        assert set(plan.batch(2, k).ids.tolist()) <= known


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("first", [0, 7])
def test_blocks_are_named_before_they_are_read(dataset: Dataset, first: int, large: bool) -> None:
    plan, store = make(blocks=Blocks(images=30, group=5)), Listening(dataset, large=large)
    for batch, named in followed(plan, store, first):
        assert set(batch.ids.tolist()) <= named
    assert len(store.named) == len(set(store.named)), "nothing is named twice"


@pytest.mark.parametrize("large", [False, True])
def test_in_list_order_images_are_named_eight_batches_ahead(dataset: Dataset, large: bool) -> None:
    plan, store = make(shuffle=False), Listening(dataset, large=large)
    for k, (_, named) in enumerate(followed(plan, store)):
        assert named == set(range(min(50 * (k + 9), 1000)))
    assert store.named == list(range(1000))


@pytest.mark.parametrize(("large", "wanted"), [(False, [4, 5, 6]), (True, [0, 2, 4, 5, 6, 9])])
def test_if_memory_holds_the_pack_only_neighbours_are_named(dataset: Dataset, large: bool, wanted: list[int]) -> None:
    ids, store = np.array([0, 2, 4, 5, 6, 9]), Listening(dataset, large=large)
    plan = Plan(ids, store.sizes, batch_size=50, shuffle=False, augment=Augmentations((64, 64), Center()))
    assert len(list(followed(plan, store))) == 1
    assert store.named == wanted


def test_a_full_shuffle_of_a_pack_larger_than_memory_names_every_image(dataset: Dataset) -> None:
    plan, store = make(), Listening(dataset, large=True)
    for batch, named in followed(plan, store):
        assert set(batch.ids.tolist()) <= named
    assert sorted(store.named) == list(range(1000))


def test_a_full_shuffle_of_a_pack_that_fits_in_memory_names_nothing(dataset: Dataset) -> None:
    plan, store = make(), Listening(dataset, large=False)
    assert len(list(followed(plan, store))) == len(plan)
    assert not store.named


def test_stores_on_a_device_get_no_calls() -> None:
    plan, store = make(shuffle=False), object()
    there: Any = store
    assert [batch.ids[0] for batch in read_ahead(plan, there, 0, 18)] == [900, 950]
