"""The compiled kernels (_kernels.c), where they were built."""

from types import ModuleType

ADVICE = (
    "The loader's kernels are not compiled here, or for an older version; numpy and torch do their work in up to four "
    "times the time: install a C compiler, then again: pip install -e ."
)

kernels: ModuleType | None
try:
    from feedline.pipeline import _kernels

    kernels = _kernels if hasattr(_kernels, "pad") else None  # the newest; compiled before it was there
except ImportError:  # installed where there was no C compiler, or not installed at all
    kernels = None
