"""Files that the user names."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from feedline.pipeline.errors import InputError, did_you_mean


def read_given(argument: str, path: str | Path, what: str, known: Iterable[str] = ()) -> bytes:
    """The bytes of a file.

    Args:
        argument: names the file.
        path: as it was given.
        what: should be given, for errors: `give a CSV file`.
        known: names that would be good too.

    Raises:
        InputError: if there is no such file, or it cannot be read. Pipes and devices are not read: they may never end.
    """
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 - `path` is shown as it was given
        kind = "a folder" if Path(path).is_dir() else "a pipe or a device, not a file"
        raise InputError(f"`{argument}={path}`: {kind}; {what}")
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        near = near_path(path, known)
        raise InputError(f"`{argument}={path}`: no such file{near or f'; {what}'}") from error
    except OSError as error:
        raise InputError(f"`{argument}={path}`: {error.strerror}; {what}") from error


def near_path(path: str | Path, known: Iterable[str] = ()) -> str:
    """The end of a line about a path where nothing is: a name beside it, or a known one, that it may have meant."""
    folder, name = os.path.split(os.path.normpath(path))
    beside: list[str] = []
    with contextlib.suppress(OSError):
        beside = [other for other in os.listdir(folder or ".") if not other.startswith(".")]  # noqa: PTH208
    hint = did_you_mean(name, beside)
    return did_you_mean(str(path), known) or hint.replace("mean ", f"mean {os.path.join(folder, '')}", 1)  # noqa: PTH118
