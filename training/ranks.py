"""Distributed training: the rank of this process, and communication between ranks.

torchrun starts the processes and sets environment variables; without it there is a single process.
"""

import atexit
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from feedline.pipeline.errors import FeedlineError, InputError

T = TypeVar("T")
# For the ranks to wait for each other. While one compiles or searches for its fastest kernels (max-autotune) the others
# wait in a collective. NCCL's own limit, ten minutes, would end the run.
WAIT = timedelta(minutes=60)


class FirstRankError(FeedlineError):
    """Rank 0 raised an error. Rank 0 prints it; the other ranks exit without a message."""


@dataclass(frozen=True)
class Ranks:
    """The rank of this process, and the number of processes of the run.

    Attributes:
        rank: of this process, 0 to world_size - 1; only rank 0 writes files and prints.
        world_size: number of processes of the run.
        local_rank, local_size: the same for the processes on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_distributed(self) -> bool:
        return self.world_size > 1

    def all_reduce(
        self, tensor: torch.Tensor, op: distributed.ReduceOp.RedOpType = distributed.ReduceOp.SUM
    ) -> torch.Tensor:
        """Reduces a tensor over all ranks, in place, and returns it. Every rank must call it."""
        if self.is_distributed:
            distributed.all_reduce(tensor, op)
        return tensor

    def share(self, tensors: Iterable[torch.Tensor]) -> None:
        """Copies rank 0's tensors to all ranks, in place. Every rank must call it."""
        if self.is_distributed:
            for tensor in tensors:
                distributed.broadcast(tensor, 0)

    def broadcast(self, value: T) -> T:
        """Returns rank 0's value on every rank. Every rank must call it."""
        return self.on_first(lambda: value)

    def on_first(self, function: Callable[[], T]) -> T:
        """Calls a function on rank 0 only and returns its result on every rank. Every rank must call it.

        Raises:
            FeedlineError: on all ranks, if the function raised it.
        """
        if not self.is_distributed:
            return function()
        result: list[Any] = [None, None]  # value, error
        if self.is_first:
            try:
                result[0] = function()
            except FeedlineError as error:
                result[1] = error
        distributed.broadcast_object_list(result)
        value, raised = result
        if raised is not None:
            raise raised if self.is_first else FirstRankError(raised.message)
        returned: T = value
        return returned


ALONE = Ranks()


class Agreement:
    """Lets all ranks react to a signal after the same step.

    Each rank calls `ask` once per step with its own request. The answer combines the requests that all ranks made at
    the previous step: the all-reduce runs while a step is computed, so no rank waits for it. A single process gets its
    own request back at once.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._flags = torch.zeros(2, dtype=torch.int32)
        self._work: Any = None
        self._is_saved = False

    def ask(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Returns whether to stop and whether to save. Every rank must call it."""
        if not self._ranks.is_distributed:
            return stop, save
        if self._work is not None:
            self._work.wait()
        answer = bool(self._flags[0]), bool(self._flags[1]) and not self._is_saved
        self._is_saved = False
        self._flags = torch.tensor([stop, save], dtype=torch.int32)
        self._work = distributed.all_reduce(self._flags, distributed.ReduceOp.MAX, async_op=True)
        return answer

    def saved(self) -> None:
        """Drops requests to save that were made before this: they are met. Every rank must call it."""
        self._is_saved = True


@contextmanager
def joined() -> Iterator[Ranks]:
    """Joins the process group of the ranks that torchrun started. Only rank 0 keeps its standard output.

    Raises:
        InputError: if torchrun's environment is incomplete.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        ranks = Ranks(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise InputError(
            f"WORLD_SIZE is set, but torchrun's other variables are not ({error}); use torchrun"
        ) from error
    _connect(ranks)
    stdout = sys.stdout
    try:
        if not ranks.is_first:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        yield ranks
    except BaseException as error:
        # Other ranks may wait for this one in a collective, so the threads that run the collective may never finish.
        atexit.register(_exit_at_once, _status(error))
        raise
    finally:
        if not ranks.is_first:
            sys.stdout.close()
        sys.stdout = stdout
    _leave()


def _leave() -> None:
    """Ends the process group and waits for its threads.

    A gloo thread that drops the last reference to a Python object while the interpreter shuts down aborts the process
    (SIGABRT). Destroying the group joins the threads only if nothing else refers to it, such as a
    DistributedDataParallel.
    """
    gc.collect()
    distributed.destroy_process_group()


def _exit_at_once(status: int) -> None:
    """Exits without interpreter shutdown, which could crash gloo's threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status(error: BaseException) -> int:
    """The exit status of a command that ends with this error."""
    if isinstance(error, FeedlineError):
        return 2
    if isinstance(error, KeyboardInterrupt):
        return 128 + (error.args[0] if error.args else signal.SIGINT)
    return 1


def _connect(ranks: Ranks) -> None:
    """Connects the ranks through torchrun's store.

    After a restart that store still holds the addresses of the dead ranks, and a rank that reads them before they are
    replaced cannot connect. So each restart uses its own key prefix. On several machines each agent counts only its own
    restarts; there set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, so that torchrun creates a new store each time.
    """
    # Functions of this module have the default group as a default argument. If the module is imported after the group
    # exists, as DistributedDataParallel would do, they keep the group forever (see `_leave`).
    importlib.import_module("torch.distributed.nn.functional")
    store, rank, world_size = next(rendezvous("env://"))
    if ranks.local_size == ranks.world_size:
        store = PrefixStore(f"start-{_restarts()}", store)
    # gloo for tensors on the host, NCCL for those on GPUs.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=WAIT)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def restarted() -> bool:
    """Whether torchrun restarted this process after a failure (`--max-restarts`)."""
    return _restarts() > 0


def may_restart() -> bool:
    """Whether torchrun would restart this process after a failure."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
