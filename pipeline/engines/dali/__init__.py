"""The DALI engine: one graph for CPU and GPU, train and eval, every store."""

import importlib


def problem() -> str | None:
    """Why DALI cannot be imported here; None if it can."""
    try:
        importlib.import_module("nvidia.dali")
    except ImportError as error:
        return str(error)
    return None
