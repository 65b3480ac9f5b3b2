"""Memory that runs out, and batches that are too small."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from feedline.pipeline.errors import FeedlineError, InputError, OutOfMemoryError
from feedline.training.config import Config
from feedline.training.ranks import ALONE, Ranks

# Parts of the messages of errors that are no torch.OutOfMemoryError, from CUDA's runtime (pinned memory, DALI), cuDNN,
# cuBLAS and NCCL, as their sources word them. DALI and NCCL say in one message whose memory it was.
ON_GPU = (
    "CUDA out of memory",
    "CUDA error: out of memory",
    "cudaErrorMemoryAllocation",
    "CUDA allocation failed",
    "bytes on device",
    "CUDNN_STATUS_ALLOC_FAILED",
    "DEVICE_ALLOCATION_FAILED",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "'out of memory'",
    "Failed to CUDA calloc",
)
ON_HOST = (
    "DefaultCPUAllocator",
    "cudaErrorHostMemory",
    "std::bad_alloc",
    "bytes on host",
    "HOST_ALLOCATION_FAILED",
    "Failed to CUDA host alloc",
    "Failed to malloc",
)


def place(error: BaseException) -> Literal["GPU", "host"] | None:
    """Whose memory ran out, if that is what an error says: by its type, or by its message."""
    if isinstance(error, torch.OutOfMemoryError):
        return "GPU"
    text = str(error)
    if any(part in text for part in ON_HOST):
        return "host"
    if any(part in text for part in ON_GPU):
        return "GPU"  # DALI's is a MemoryError
    return "host" if isinstance(error, MemoryError) else None


@contextmanager
def memory_errors(
    config: Config, ranks: Ranks = ALONE, *, trains: bool = True, resumed: bool = False
) -> Iterator[None]:
    """Turns torch's and Python's errors for a lack of memory into one line with the batch size to try.

    So it does with a batch norm's error that it has one value a channel.

    Args:
        config: of the command.
        ranks: its processes.
        trains: it does training steps, which can be taken in parts.
        resumed: it resumes a run, which keeps its settings.

    Raises:
        InputError: if a batch norm has one value a channel.
        OutOfMemoryError: if the memory of the GPU or of the host ran out.
    """
    try:
        yield
    except FeedlineError:
        raise
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise InputError(
            f"`batch_size={config.loader.batch_size}`: a batch norm has one value a channel, which has no variance; "
            f"use `batch_size={2 * ranks.world_size}` or more, or a larger `image_size`"
        ) from error
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if (where_from := place(error)) is None:
            raise
        where = "the host" if where_from == "host" else f"the GPU ({torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB)"
        advice = f"{'in a new run ' if resumed else ''}try {_less_memory(config, ranks, trains)}"
        raise OutOfMemoryError(
            f"`batch_size={config.loader.batch_size}`: {where} has no memory left; {advice}"
        ) from error


def _less_memory(config: Config, ranks: Ranks, trains: bool) -> str:
    """The flags that take less memory, of those that the command takes."""
    size, unit = config.loader.batch_size, config.batch_unit(ranks.world_size) if trains else ranks.world_size
    smaller = size // 2 // unit * unit
    less = [f"`batch_size={smaller}`"] if smaller else []
    less += [] if config.run.amp else ["`amp`"]
    ways = [" or ".join(less)] if less else []
    if trains and size % (2 * unit) == 0:
        ways.append(f"`accumulate={2 * config.optim.accumulate}`, which keeps the batch")
    return ", or ".join(ways) or f"a smaller `{'image_size' if trains else 'eval_size'}`"
