"""Several processes that train one model: who this one is, and what all of them know.

torchrun starts the processes and says who is who in the environment; without it there is one.
"""

import atexit
import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from feedline.pipeline.errors import InputError

T = TypeVar("T")


class SaidByFirst(InputError):
    """Rank 0 could not go on and says why; the others end with it, silently."""


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run.

    Attributes:
        rank: of this process, 0 to world_size - 1; rank 0 is the one that writes and speaks.
        world_size: processes of the run.
        local_rank, local_size: the same on this machine.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.world_size > 1

    def sum_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Adds up a tensor over all ranks, in place."""
        if self.several:
            distributed.all_reduce(tensor)
        return tensor

    def min_(self, tensor: torch.Tensor) -> torch.Tensor:
        """The least over all ranks, in place."""
        if self.several:
            distributed.all_reduce(tensor, distributed.ReduceOp.MIN)
        return tensor

    def share(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, on every rank; for what only one may do, or what need not lie on every machine.

        Raises:
            InputError: on all ranks, if rank 0 raised it.
        """
        if not self.several:
            return make()
        made: list[Any] = [None, None]
        if self.first:
            try:
                made[0] = make()
            except InputError as error:
                made[1] = error
        distributed.broadcast_object_list(made)
        if made[1] is not None:
            raise made[1] if self.first else SaidByFirst(str(made[1]))
        result: T = made[0]
        return result

    def first_says(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        return self.share(lambda: value)


ALONE = Ranks()


class Agreement:
    """Lets all ranks act on a signal at the same step.

    Each rank asks once a step, with what it wants; the answer is what any rank wanted at the step before. The sum goes
    round while the step is computed, so nobody waits for it. A process alone is answered at once.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._flags = torch.zeros(2, dtype=torch.int32)
        self._work: Any = None

    def ask(self, stop: bool, save: bool) -> tuple[bool, bool]:
        """Whether to stop, whether to save."""
        if not self._ranks.several:
            return stop, save
        if self._work is not None:
            self._work.wait()
        answer = bool(self._flags[0]), bool(self._flags[1])
        self._flags = torch.tensor([stop, save], dtype=torch.int32)
        self._work = distributed.all_reduce(self._flags, distributed.ReduceOp.MAX, async_op=True)
        return answer


def program(name: str) -> str:
    """How a program calls itself in what it has to say: with its rank, if that is not 0."""
    rank = os.environ.get("RANK", "0")
    return name if rank == "0" else f"{name} (rank {rank})"


@contextmanager
def joined() -> Iterator[Ranks]:
    """Joins the processes that torchrun started; afterwards only rank 0 has a standard output.

    Raises:
        InputError: if there are more processes than GPUs on a machine that has some.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        ranks = Ranks(*(int(os.environ[name]) for name in names))
    except (KeyError, ValueError) as error:
        raise InputError(f"WORLD_SIZE is set, but not what torchrun sets beside it ({error}); use torchrun") from error
    _connect(ranks)
    stdout = sys.stdout
    try:
        if not ranks.first:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
        yield ranks
    except BaseException as error:
        # Others may wait for this rank in a collective, so its own threads in there cannot be waited for.
        atexit.register(_exit_at_once, _status(error))
        raise
    finally:
        if not ranks.first:
            sys.stdout.close()
        sys.stdout = stdout
    _leave()


def _leave() -> None:
    """Ends the process group and waits for its threads.

    A thread of gloo's that drops the last reference to something of Python's while the interpreter ends aborts the
    process (SIGABRT). Destroying the group joins the threads only if nobody else holds it: a DistributedDataParallel
    that is still there does.
    """
    gc.collect()
    distributed.destroy_process_group()


def _exit_at_once(status: int) -> None:
    """Ends the process without ending the interpreter, whose end gloo's threads might not survive."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _status(error: BaseException) -> int:
    """The exit status of a command that an error ends."""
    if isinstance(error, InputError):
        return 2
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def _connect(ranks: Ranks) -> None:
    """Finds the others through the store that torchrun holds.

    After a restart that store still has the addresses of the ranks that died, and a rank that reads them before they
    are replaced cannot connect: each start has a room of its own. Agents on several machines count their restarts
    apart; there it takes TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, with which torchrun makes a new store each time.
    """
    # This module's functions have the default group as default argument. Imported later, as DistributedDataParallel
    # does, they would hold the group for ever (see `_leave`).
    importlib.import_module("torch.distributed.nn.functional")
    store, rank, world_size = next(rendezvous("env://"))
    if ranks.local_size == ranks.world_size:
        store = PrefixStore(f"start-{_restarts()}", store)
    # Tensors on the host go through gloo on every machine, those on GPUs through NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def _restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def restarted() -> bool:
    """Whether torchrun started this process again after a failure (`--max-restarts`)."""
    return _restarts() > 0


def may_restart() -> bool:
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0
