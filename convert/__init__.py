"""From images of any source to a dataset folder, once.

::

    from feedline.convert import from_dataset
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from feedline.convert.indexed.build import from_dataset

__all__ = ["from_dataset"]


def __getattr__(name: str) -> Any:
    if name == "from_dataset":  # imported when it is asked for: the command and its workers do not need it
        from feedline.convert.indexed.build import from_dataset

        return from_dataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
