"""Work on a GPU that is the same in each step, as a CUDA graph: one launch instead of hundreds."""

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import torch

from feedline.pipeline.errors import first_line

logger = logging.getLogger(__name__)

_failed: list[torch.cuda.CUDAGraph] = []  # the allocator may refer to them
WARM_UP = 3  # calls before the capture, in which libraries set themselves up


class Replayed:
    """Calls work, and from the fourth call on replays what a capture of it launches.

    Where it cannot be captured it is called as before, and a warning says so once.

    Args:
        work: changes tensors on the current GPU in place, and reads its arguments. All of its memory but that of the
            arguments stays where it is, all numbers are the same in each call, and it does not wait for the GPU.
    """

    def __init__(self, work: Callable[[list[torch.Tensor]], None]) -> None:
        self._work = work
        self._calls = 0
        self._inputs: list[torch.Tensor] = []
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, inputs: list[torch.Tensor]) -> None:
        """Does the work on tensors whose shapes are the same in each call. A replay reads copies of them."""
        self._calls += 1
        if self._calls == WARM_UP + 1:
            self._capture(inputs)
        if self._graph is None:
            self._work(inputs)
        else:
            torch._foreach_copy_(self._inputs, inputs)
            self._graph.replay()

    @property
    def captured(self) -> bool:
        """Whether calls replay a graph."""
        return self._graph is not None

    def _capture(self, inputs: list[torch.Tensor]) -> None:
        try:
            self._inputs = [torch.empty_like(each) for each in inputs]
            self._graph = capture(lambda: self._work(self._inputs))
        except RuntimeError as error:
            self._inputs.clear()
            why = first_line(error.__context__ or error)  # the end of a capture that has failed fails too
            logger.warning("the optimizer's step is launched kernel by kernel, which is slower: %s", why)


def capture(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    """Notes what the work launches, without running it.

    Other threads, as a loader's, may call CUDA meanwhile (`thread_local`). A capture that fails leaves the GPU as it
    was, which torch does not see to in all versions.
    """
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    try:
        _note(graph, work, pool)
    except RuntimeError:
        _put_right(graph, pool)
        raise
    return graph


def _note(graph: torch.cuda.CUDAGraph, work: Callable[[], object], pool: Any = None) -> None:
    with (
        torch.cuda.stream(torch.cuda.current_stream()),  # torch 2.11 leaves that of a capture that failed
        torch.cuda.graph(graph, pool=pool, stream=torch.cuda.Stream(), capture_error_mode="thread_local"),
    ):
        work()


def _put_right(graph: torch.cuda.CUDAGraph, pool: Any) -> None:
    """Ends for the allocator and for the random generator a capture that failed.

    Torch 2.11 lets the allocator wait for the end of the capture: no memory that another stream has used is free again.
    Its random generator takes each draw, and each replay of another graph, for a part of the capture and raises, until
    one succeeds.
    """
    try:
        torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
    except (RuntimeError, AttributeError):
        pass  # it has ended: with the graph its memory goes
    else:
        _failed.append(graph)
    with contextlib.suppress(RuntimeError):
        _note(torch.cuda.CUDAGraph(), lambda: torch.zeros(1, device="cuda"))
