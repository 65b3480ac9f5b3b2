"""Feedline: image datasets converted once, a loader that keeps up, and a trainer.

::

    from feedline import Dataset, Loader
"""

from typing import TYPE_CHECKING, Any

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError

if TYPE_CHECKING:
    from feedline.pipeline.loader import Loader

__version__ = "0.2.0"

__all__ = ["Dataset", "InputError", "Loader", "__version__"]


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; the converter does not need it.
    if name == "Loader":
        from feedline.pipeline.loader import Loader

        return Loader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
