"""A sampler as wrappers of a DataLoader expect one."""

from collections.abc import Iterator
from typing import Protocol

from torch.utils.data import Sampler, SequentialSampler

from feedline.pipeline.plan import Plan


class _Owner(Protocol):
    plan: Plan

    @property
    def next_epoch(self) -> int: ...

    def set_epoch(self, epoch: int) -> None: ...


class EpochSampler(Sampler[int]):
    """The order of a loader's images, as a DataLoader's sampler shows it: Lightning and others call its `set_epoch`.

    Iterating it gives the positions in `loader.dataset` of the images of the next epoch, of this rank, in order.
    """

    def __init__(self, loader: _Owner) -> None:
        self._loader = loader

    def __len__(self) -> int:
        plan = self._loader.plan
        return sum(len(plan.slots(k)) for k in range(len(plan)))

    def __iter__(self) -> Iterator[int]:
        plan, epoch = self._loader.plan, self._loader.next_epoch
        for k in range(len(plan)):
            slots = plan.slots(k)
            yield from (plan.order(epoch)(slots) if plan.shuffle else slots).tolist()

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch of the next loop; see `Loader.set_epoch`."""
        self._loader.set_epoch(epoch)


class ListOrderSampler(EpochSampler, SequentialSampler):
    """The same of a loader that does not shuffle, as wrappers tell it: Lightning's `overfit_batches` asks for one."""
