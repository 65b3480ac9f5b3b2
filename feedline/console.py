"""What a command says: everything, only what it ends with (`--quiet`), or one JSON object (`--json`)."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

from feedline.pipeline.files import plain

_loud: TextIO | None = None  # where `aloud` writes; None outside `speaking`
_quiet = False


@contextmanager
def speaking(*, quiet: bool, json: bool) -> Iterator[None]:
    """Until the block ends, what is printed goes where the flags say.

    Args:
        quiet: nothing but what is printed within `aloud`, and what goes to stderr; no progress.
        json: stdout is left to `print_result`: all goes to stderr.
    """
    global _loud, _quiet
    before = _loud, _quiet
    _loud, _quiet = sys.stderr if json else sys.stdout, quiet
    try:
        with (
            Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace") as nowhere,
            redirect_stdout(nowhere if quiet else _loud),
        ):
            yield
    finally:
        _loud, _quiet = before


@contextmanager
def aloud() -> Iterator[None]:
    """What is printed until the block ends is a result or a warning, which `--quiet` leaves."""
    with redirect_stdout(_loud or sys.stdout):
        yield


def is_quiet() -> bool:
    """Whether no progress is to be shown."""
    return _quiet


def print_result(content: Mapping[str, Any]) -> None:
    """Prints one JSON object in a line."""
    print(json_line(content), flush=True)


def json_line(content: Mapping[str, Any]) -> str:
    """One JSON object in printable ASCII, of which a console escapes nothing; numbers that JSON lacks are null."""
    return json.dumps(plain(content), allow_nan=False).replace("\x7f", "\\u007f")
