"""Whose memory ran out.

The messages are put together from the sources of torch 2.14, DALI 2.4, cuDNN 9, NCCL 2.30 and glibc. torch's own lack
of memory was seen on a GPU, by the tests below; the others of a GPU were not captured.
"""

import math
from typing import Any

import pytest
import torch

from feedline.pipeline.errors import OutOfMemoryError
from feedline.training.memory import memory_errors, place
from tests.training.conftest import Build, Make

PARTS = ", or accumulate=2, which keeps the batch"


@pytest.mark.parametrize(
    ("error", "where"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "GPU"),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported asynchronously"), "GPU"),
        (RuntimeError("Critical error in pipeline:\nCUDA runtime API error cudaErrorMemoryAllocation (2)"), "GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "GPU"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "GPU"),
        (torch.distributed.DistBackendError("NCCL error, unhandled cuda error\nCuda failure 2 'out of memory'"), "GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"), "GPU"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"), "host"),
        (torch.distributed.DistBackendError("Last error:\nFailed to CUDA calloc async 608 bytes"), "GPU"),
        (torch.distributed.DistBackendError("Last error:\nFailed to CUDA host alloc 608 bytes"), "host"),
        (MemoryError("CUDA allocation failed"), "GPU"),
        (MemoryError("Can't allocate 1000 bytes on device 0."), "GPU"),
        (MemoryError("Can't allocate 1000 bytes on host."), "host"),
        (MemoryError(), "host"),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:129] DefaultCPUAllocator: can't allocate memory"), "host"),
        (RuntimeError("std::bad_alloc"), "host"),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), None),
        (RuntimeError("out of range"), None),
        (ValueError("CUDA out"), None),
    ],
)
def test_a_lack_of_memory_is_recognised(error: BaseException, where: str | None) -> None:
    assert place(error) == where


@pytest.mark.parametrize(
    ("changes", "options", "tried"),
    [
        ({"batch_size": 16}, {}, f"try batch_size=8 or amp{PARTS}"),
        ({"batch_size": 16}, {"trains": False}, "try batch_size=8 or amp"),
        ({"batch_size": 16, "amp": True}, {"resumed": True}, f"in a new run try batch_size=8{PARTS}"),
        ({"batch_size": 12, "accumulate": 4}, {}, "try batch_size=4 or amp"),
        ({"batch_size": 2, "mixup": 0.2}, {}, "try amp"),
        ({"batch_size": 1, "amp": True}, {}, "try a smaller image_size"),
        ({"batch_size": 1, "amp": True}, {"trains": False}, "try a smaller eval_size"),
    ],
)
def test_what_is_tried_can_be_given(config: Make, changes: Any, options: Any, tried: str) -> None:
    with pytest.raises(OutOfMemoryError) as error, memory_errors(config(**changes), **options):
        raise MemoryError
    assert str(error.value).split("; ")[1] == tried


@pytest.mark.gpu
@pytest.mark.parametrize("engine", ["dali", "torch"])
def test_out_of_memory_and_on_again(config: Make, trainer: Build, engine: Any) -> None:
    """One line says what to try; the next run of the process trains."""
    c = config(device="cuda", engine=engine, image_size=64, batch_size=32)
    torch.cuda.empty_cache()
    run = trainer(c, "full")
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(OutOfMemoryError, match=r"^batch_size=32: the GPU \(.*try batch_size=16"), memory_errors(c):
            run.fit()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert math.isfinite(trainer(c, "next").fit()["last"]["train_loss"])
