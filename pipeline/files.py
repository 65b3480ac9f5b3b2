"""Files that are written whole or not at all."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the temporary name to write a file to, which takes its place when the block ends.

    Nothing is left of what cannot be written, and the error names the file, also that of a disk that is full.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Writes to a temporary name and renames it; nothing is left of what cannot be written.

    Bytes in the name of a file that are not UTF-8 are written as `\\udce9`, which JSON reads as Python does.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def writable(text: str) -> str:
    """Text of which every character can be written: bytes of a file's name that are not UTF-8 become `\\udce9`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes readable JSON. The same content gives the same bytes."""
    write_text(path, json.dumps(plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value as JSON has it: a path becomes its text; a float that is not finite, which JSON lacks, becomes null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
