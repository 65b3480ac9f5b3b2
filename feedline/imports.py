"""Imports of large packages by a command."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collecting() -> Iterator[None]:
    """Until the block ends, Python looks for no garbage, and what was imported is never looked at again.

    Torch and what else training imports are half a million objects, and all stay. Collections would look through them
    again and again while they are made, and at the exit. A no-op where torch is imported already, as in a notebook:
    there other objects would stay too.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
