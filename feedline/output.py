"""What the commands print reaches the terminal safely, and a command does not end because nobody reads it."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, TextIO, cast

# What a terminal obeys instead of showing it: control characters (escape sequences begin with U+001B or U+009B), line
# separators, and those that turn the direction of what follows. Names of classes and files may hold any of them.
_CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_UNSAFE_IN_LINE = re.compile(f"[{_CONTROL}]")
_UNSAFE = re.compile(f"(?![\t\n\r])[{_CONTROL}]")


def one_line(text: object) -> str:
    """Text that stays on its line, whatever it holds: control characters, also line ends, are shown as `\\x1b`."""
    return _UNSAFE_IN_LINE.sub(_as_code, str(text))


def spelled(name: str) -> str:
    """A key as recipes spell it: `batch-size` for `batch_size`."""
    return name.replace("_", "-")


def setting(value: object) -> str:
    """A setting's value in a message or table: lists joined by commas, nothing as `none`."""
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, float) and len(str(value)) > 9:
        return f"{value:.6g}"
    return "none" if value is None else str(value) or "none"


def speed(images_per_s: float) -> str:
    """Images per second, with a decimal where there are few: `19,674`, `8.4`."""
    return f"{images_per_s:,.{0 if images_per_s >= 100 else 1}f}"


def duration(seconds: float) -> str:
    """Seconds as `45 s`, `12 min 5 s` or `3 h 20 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and what it counts: `1 image`, `2,000 images`, `3 classes`.

    Args:
        count: how many.
        one: what they are called where it is one: `image`, `image in none`.
        many: what else; by default the first word gets an s, or es.
    """
    if many is None:
        noun, space, rest = one.partition(" ")
        many = f"{noun}{'es' if noun.endswith(('s', 'tch', 'nch')) else 's'}{space}{rest}"
    return f"{count:,} {one if count == 1 else many}"


def listed(names: Sequence[str], most: int = 5, separator: str = ", ") -> str:
    """The first names, and how many more there are: `cat, dog and 1,200 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return separator.join(names[:most]) + more


def _as_code(match: "re.Match[str]") -> str:
    return match[0].encode("unicode_escape").decode()


@contextlib.contextmanager
def safe_output() -> Iterator["Ending"]:
    """Until the block ends, printing raises no error and sends no escape sequence. Yields what ends the command.

    Output goes nowhere if nobody reads it (`| head -1`) or the stream was closed before the start (`>&-`). What else
    goes wrong with it is said at the end, if stderr still works. Characters that the stream's encoding lacks are
    written as `\\xef`. Blocks may be nested.
    """
    _open_closed_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    out, err = (_Output(stream or _nowhere()) for stream in before[1:])
    sys.stdin = before[0] or open(os.devnull)  # noqa: SIM115, PTH123
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    ending = Ending(out)
    try:
        yield ending
    except SystemExit as ended:  # as --help ends
        raise ended if ended.code else SystemExit(ending.status(0)) from None
    finally:
        out.flush()
        if out.problem:
            err.write(f"the output could not be written ({out.problem})\n")
        err.flush()
        sys.stdin, sys.stdout, sys.stderr = before


class Ending:
    """Turns what a command came to into its exit status."""

    def __init__(self, out: "_Output") -> None:
        self._out = out

    def status(self, status: int) -> int:
        """The exit status of a command: 1 instead of 0 if not all of its output could be written, as on a full disk.

        Output that nobody wants to read (`| head -1`, `>&-`) changes nothing.
        """
        self._out.flush()
        return status or int(bool(self._out.problem))


class _Output:
    """A text stream whose `write` and `flush` raise no OSError; else as the stream.

    Attributes:
        problem: why something was lost; empty if nothing was, or if nobody reads the stream.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.problem = stream, ""

    def write(self, text: str) -> int:
        shown = _UNSAFE.sub(_as_code, text)
        if not shown.isascii():
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            shown = shown.encode(encoding, "backslashreplace").decode(encoding)
        with self._losing():
            self._stream.write(shown)
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        with self._losing():
            self._stream.flush()

    @contextlib.contextmanager
    def _losing(self) -> Iterator[None]:
        """Turns the stream to nowhere after an error: else Python tries again at its end, and exits with 120."""
        try:
            yield
        except OSError as error:
            if error.errno != errno.EPIPE:
                self.problem = error.strerror or str(error)
            with contextlib.suppress(OSError), _nowhere() as nowhere:  # a stream may have no descriptor
                os.dup2(nowhere.fileno(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123


def _open_closed_descriptors() -> None:
    """Opens /dev/null in place of 0, 1 and 2 where closed: else the next file that is opened takes their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
