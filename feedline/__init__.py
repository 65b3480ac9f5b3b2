"""Feedline: image datasets converted once, a loader that keeps up, and a trainer.

::

    from feedline import Dataset, Loader
"""

import importlib
from typing import TYPE_CHECKING, Any

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import DivergedError, FeedlineError, InputError, OutOfMemoryError, WorkerKilledError

if TYPE_CHECKING:
    from feedline.pipeline.engines.types import EngineName
    from feedline.pipeline.loader import Batch, Loader
    from feedline.pipeline.options import LoaderOptions
    from feedline.pipeline.plan import PlanBatch
    from feedline.pipeline.preprocess import Preprocess
    from feedline.pipeline.stores import StoreName
    from feedline.use.loading import load

__version__ = "0.2.0"

__all__ = [
    "Batch",
    "Dataset",
    "DivergedError",
    "EngineName",
    "FeedlineError",
    "InputError",
    "Loader",
    "LoaderOptions",
    "OutOfMemoryError",
    "PlanBatch",
    "Preprocess",
    "StoreName",
    "WorkerKilledError",
    "__version__",
    "load",
]

# Importing torch takes seconds, and the converter does not need it: these names are imported when they are asked for.
_LAZY = {
    "Batch": "pipeline.loader",
    "EngineName": "pipeline.engines.types",
    "Loader": "pipeline.loader",
    "LoaderOptions": "pipeline.options",
    "PlanBatch": "pipeline.plan",
    "Preprocess": "pipeline.preprocess",
    "StoreName": "pipeline.stores",
    "load": "use.loading",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(f"feedline.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
