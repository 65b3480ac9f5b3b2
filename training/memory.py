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
def memory_errors(config: Config, ranks: Ranks = ALONE) -> Iterator[None]:
    """Turns torch's and Python's errors for a lack of memory into one line with the batch size to try.

    So it does with a batch norm's error that it has one value a channel.

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
        size = config.loader.batch_size
        smaller = size // 2 // ranks.world_size * ranks.world_size
        where = "the host" if where_from == "host" else f"the GPU ({torch.cuda.mem_get_info()[1] / 2**30:.0f} GiB)"
        advice = f"try `batch_size={smaller}`" + ("" if config.run.amp else " or `amp`")
        advice += f", or `accumulate={2 * config.optim.accumulate}`, which keeps the batch"
        raise OutOfMemoryError(f"`batch_size={size}`: {where} has no memory left; {advice}") from error
