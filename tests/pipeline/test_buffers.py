import numpy as np
import torch

from feedline.pipeline.buffers import BufferPool, aligned


def test_memory_of_dropped_batches_is_reused() -> None:
    pool = BufferPool((4, 4), torch.float32, keep=2)
    first = torch.from_numpy(pool.take(4))
    address = first.data_ptr()
    part = first[1:]
    del first
    assert torch.from_numpy(pool.take(2)).data_ptr() != address, "a view of it still exists"
    del part
    again = torch.from_numpy(pool.take(3))
    assert again.data_ptr() == address
    assert again.shape == (3, 4)
    assert address % 64 == 0, "a cache line"


def test_memory_is_kept_for_views_of_an_array_too() -> None:
    pool = BufferPool((4, 4), torch.float32, keep=2)
    whole = pool.take(4)
    address, part = whole.ctypes.data, whole[1:, ::2][1:]
    del whole
    assert pool.take(4).ctypes.data != address
    part[...] = 3
    del part
    assert pool.take(2).ctypes.data == address


def test_arrays_have_the_given_dtype() -> None:
    for dtype, wanted in ((torch.float16, np.float16), (torch.uint8, np.uint8)):
        assert BufferPool((3, 5), dtype, keep=1).take(2).dtype == wanted


def test_arrays_start_at_a_cache_line() -> None:
    arrays = [aligned((3, 5), np.float32) for _ in range(20)]
    assert all(array.ctypes.data % 64 == 0 and array.shape == (3, 5) for array in arrays)
