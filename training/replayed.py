"""Work on a GPU that is the same in each step, as a CUDA graph: one launch instead of hundreds."""

import contextlib
import logging
from collections.abc import Callable

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

    def _capture(self, inputs: list[torch.Tensor]) -> None:
        self._inputs = [torch.empty_like(each) for each in inputs]
        try:
            self._graph = capture(lambda: self._work(self._inputs))
        except RuntimeError as error:
            self._inputs.clear()
            why = first_line(error.__context__ or error)  # the end of a capture that has failed fails too
            logger.warning("the optimizer's step is launched kernel by kernel, which is slower: %s", why)


def capture(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """Notes what the work launches, without running it.

    Other threads, as a loader's, may call CUDA meanwhile (`thread_local`). Where a capture fails torch 2.11 leaves its
    stream the current one, and the allocator waiting for its end: then no memory that another stream has used is free
    again. Both are put right here.
    """
    graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
    try:
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=pool, stream=torch.cuda.Stream(), capture_error_mode="thread_local"),
        ):
            work()
    except RuntimeError:
        _failed.append(graph)
        with contextlib.suppress(RuntimeError, AttributeError):
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), pool)
        raise
    return graph
