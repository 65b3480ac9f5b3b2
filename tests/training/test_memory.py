"""Whose memory ran out.

The messages are put together from the sources of torch 2.14, DALI 2.4, cuDNN 9, NCCL 2.30 and glibc. None of those
from a GPU was captured: no GPU has run this yet.
"""

import pytest
import torch

from feedline.training.memory import place


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
