"""From a dataset folder to normalised batches on the device."""

from typing import TYPE_CHECKING, Any

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.errors import InputError

if TYPE_CHECKING:
    from feedline.pipeline.loader import Loader

__all__ = ["Dataset", "InputError", "Loader"]


def __getattr__(name: str) -> Any:
    # Importing torch takes seconds; the converter needs only the dataset's format.
    if name == "Loader":
        from feedline.pipeline.loader import Loader

        return Loader
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
