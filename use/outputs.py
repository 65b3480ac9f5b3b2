"""Where a command writes what `--out` names."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feedline.pipeline.errors import InputError, first_line


@contextmanager
def writing_to(out: str | Path) -> Iterator[None]:
    """Turns errors of a file or folder that cannot be written into one line.

    Args:
        out: as the command names it.

    Raises:
        InputError: if there is one.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"`out={out}`: cannot be written ({error.strerror or first_line(error)})") from error
