import ctypes
import subprocess
import sys

import pytest

# Page faults of ten times 64 MiB that are allocated, written and freed, after two times to warm up.
PROGRAM = """
import resource, sys
import torch
from feedline.training.heap import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
    keep_freed_memory()
for number in range(12):
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(heap: str) -> int:
    result = subprocess.run([sys.executable, "-c", PROGRAM, heap], check=True, capture_output=True, text=True)
    return int(result.stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="needs glibc")
def test_memory_that_is_kept_is_not_filled_with_zeros_again() -> None:
    assert page_faults("default") > 5000, "or glibc has changed, and this is no longer needed"
    assert page_faults("kept") < 200
