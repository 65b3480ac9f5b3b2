"""Asks the system to read images ahead, many at a time instead of one by one."""

from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline.plan import Plan, PlanBatch
from feedline.pipeline.plan.permutation import BlockPermutation
from feedline.pipeline.stores import HostStore, Store

AHEAD = 8  # batches between the request to read ahead and the read


def read_ahead(plan: Plan, store: Store, epoch: int, first: int) -> Iterator[PlanBatch]:
    """Returns the batches of an epoch from `first` on. The store is asked to read each ahead.

    If the store fits in memory, only runs of neighbours are read ahead; single images are left to the system. A full
    shuffle of such a store has no neighbours, so nothing is read ahead.
    """
    batches = (plan.batch(epoch, k) for k in range(first, len(plan)))
    if not isinstance(store, HostStore) or (plan.shuffle and not plan.blocks and not store.large):
        return batches
    return _announce(plan, store, epoch, first, batches)


def _announce(
    plan: Plan, store: HostStore, epoch: int, first: int, batches: Iterator[PlanBatch]
) -> Iterator[PlanBatch]:
    waiting: deque[PlanBatch] = deque()
    for k, batch in enumerate(batches, first):
        waiting.append(batch)
        for ids in coming_blocks(plan, epoch, k, first) if plan.blocks else [batch.ids]:
            firsts, lasts = runs(ids, single=store.large)
            if len(firsts):
                store.will_need(firsts, lasts)
        if len(waiting) > AHEAD:
            yield waiting.popleft()
    yield from waiting


def coming_blocks(plan: Plan, epoch: int, k: int, first: int = 0) -> list[NDArray[np.int64]]:
    """Blocks to prefetch when batch `k` is requested, in an epoch that started at batch `first`.

    Returns:
        The image ids of each block in this batch's group or the next that was not read ahead before, int64 [images].
    """
    order = plan.order(epoch)
    assert isinstance(order, BlockPermutation)
    group = order.group_of(k * plan.batch_size)
    unnamed = group if k == first else order.group_of((k - 1) * plan.batch_size) + 2
    return [
        np.asarray(plan.ids[block * order.block : (block + 1) * order.block])
        for number in range(unnamed, group + 2)
        for block in order.blocks_of(number).tolist()
    ]


def runs(ids: NDArray[np.int64], *, single: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last ids of the runs of neighbours in `ids`, int64 [runs] each; runs of one only if `single`."""
    ends = np.flatnonzero(np.diff(ids, append=-1) != 1) + 1
    firsts, lasts = ids[np.concatenate([[0], ends[:-1]])], ids[ends - 1]
    keep = slice(None) if single else lasts > firsts
    return firsts[keep], lasts[keep]
