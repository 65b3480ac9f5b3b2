"""What libtiff, by which Pillow reads most TIFFs, says of a damaged file. On its own it prints that to stderr."""

import contextlib
import ctypes
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL

MAX_TEXT = 500  # bytes
_Handler: Any = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)  # module, format, its values
_listener = threading.local()


@contextlib.contextmanager
def errors() -> Iterator[list[str]]:
    """A list, to which each error is appended that libtiff has in this thread meanwhile.

    It stays empty where the library is not found; errors are printed then.
    """
    _set_handler()
    found: list[str] = []
    _listener.found = found
    try:
        yield found
    finally:
        _listener.found = None


@functools.cache
def _set_handler() -> Any:
    """Makes libtiff call us for each error. Returns what must be kept as long as it does."""
    for name in (*_bundled(), "libtiff.so.6", "libtiff.so.5"):
        with contextlib.suppress(OSError, AttributeError):
            return _set_handler_of(ctypes.CDLL(name), ctypes.CDLL(None))
    return None


def _set_handler_of(library: ctypes.CDLL, system: ctypes.CDLL) -> Any:
    system.vsnprintf.argtypes = (ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p)
    library.TIFFSetErrorHandler.argtypes, library.TIFFSetErrorHandler.restype = (_Handler,), _Handler

    def hear(module: bytes | None, text: bytes, values: int) -> None:
        found = getattr(_listener, "found", None)
        if found is None:  # somebody else's TIFF
            if previous:
                previous(module, text, values)
            return
        buffer = ctypes.create_string_buffer(MAX_TEXT)
        system.vsnprintf(buffer, MAX_TEXT, text, values)
        found.append(buffer.value.decode(errors="replace"))

    handler = _Handler(hear)
    previous = library.TIFFSetErrorHandler(handler)
    return handler, previous


def _bundled() -> list[str]:
    """The library in Pillow's wheels."""
    package = Path(PIL.__file__).parent
    folders = package.parent / "pillow.libs", package / ".dylibs"
    return [str(path) for folder in folders for path in folder.glob("libtiff*")]
