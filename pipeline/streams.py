"""The GPU and the stream on which a loader makes its batches.

A stream is a queue of work for a GPU; streams do not wait for each other unless told to. On the CPU none of this does
anything.
"""

from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

CPU = torch.device("cpu")
Item = TypeVar("Item")
Event: TypeAlias = "torch.cuda.Event | None"


def use(device: torch.device) -> None:
    """Makes a GPU the current one of this thread. Each new thread starts with the first GPU of the machine."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array as a tensor: on a GPU a copy, which is not waited for, on a CPU the same memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class SideStream(Generic[Item]):
    """A loader's own stream: the model's stream never waits for a batch that comes after the next.

    Args:
        device: of the batches.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def made(self, items: Generator[Item, None, None]) -> Generator[tuple[Item, Event], None, None]:
        """The items, made on this stream, each with the event that ends its work (None on the CPU)."""
        try:
            while True:
                with self._current():
                    try:
                        item = next(items)
                    except StopIteration:
                        return
                    event = None if self._stream is None else self._stream.record_event()
                yield item, event
                del item  # its memory can be reused while the next is waited for
        finally:
            with self._current():
                items.close()

    def _current(self) -> AbstractContextManager[Any]:
        """Makes this stream, and its GPU, the current one."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def hand_over(self, tensors: Iterable[torch.Tensor], event: Event) -> None:
        """Gives an item's tensors to the caller's current stream, which waits for them.

        Their memory is not used again before the caller's work on them has ended.
        """
        if event is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(event)
            for tensor in tensors:
                tensor.record_stream(stream)
