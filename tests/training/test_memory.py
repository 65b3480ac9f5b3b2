"""Whose memory ran out. The messages are those of torch 2.14, DALI 2.4, cuDNN, NCCL and glibc."""

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
