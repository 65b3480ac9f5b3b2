"""Errors from outside the code: one base class, one class per kind."""

import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import PurePath

# An argument stands alone: what users put into a message, a path say, may hold backticks too.
_ARGUMENT = re.compile(r"(?<![^\s(])`(\w+)(?:=(.*?))?`(?=[:;,.]?(?:\s|$)|\))", re.DOTALL)

OF_A_NAME = {errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM}  # what looking at a named file ends in
LIKE = 0.65  # of difflib: sdg is as like sgd, and mode less like decode


class FeedlineError(Exception):
    """Something outside the code went wrong.

    The message is one line that says what is wrong, where, and what to do. It names the library's arguments in
    backticks, as `` `batch_size=1000` ``; `str` drops the backticks, `as_flags` turns arguments into flags. Commands
    print the line and exit with status 2.
    """

    @property
    def message(self) -> str:
        """The line with its backticks."""
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return _ARGUMENT.sub(lambda match: match[0][1:-1], self.message)


class InputError(FeedlineError, ValueError):
    """An argument, a file or a folder cannot be used."""


class DivergedError(FeedlineError, ArithmeticError):
    """The loss is no longer finite."""


class OutOfMemoryError(FeedlineError, MemoryError):
    """The memory of the GPU or of the host ran out."""


class WorkerKilledError(FeedlineError, RuntimeError):
    """A worker process was killed from outside."""


@contextmanager
def name_errors() -> Iterator[None]:
    """Turns errors of names that lead to no file that may be looked at into one line.

    Raises:
        InputError: if a name is too long, leads through links in a circle or to what others may not see.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in OF_A_NAME or error.filename is None:
            raise
        raise InputError(f"{error.filename}: {os.strerror(error.errno)}") from error
    except RuntimeError as error:
        loop = re.match(r"Symlink loop from '(.*)'$", str(error), re.DOTALL)  # Path.resolve in Python up to 3.12
        if loop is None:
            raise
        raise InputError(f"{loop[1]}: {os.strerror(errno.ELOOP)}") from error


def as_flags(error: FeedlineError) -> str:
    """The message for a command line: `` `batch_size=8` `` as `--batch-size 8`, `` `flip=False` `` as `--no-flip`."""

    def flag(match: "re.Match[str]") -> str:
        name, value = match[1].replace("_", "-"), match[2]
        if value in ("True", "False"):
            return f"--{name}" if value == "True" else f"--no-{name}"
        return f"--{name}" if value is None else f"--{name} {value}"

    return _ARGUMENT.sub(flag, error.message)


def as_keys(error: FeedlineError) -> str:
    """The message for a recipe: `` `batch_size=8` `` as `batch-size = 8`."""

    def key(match: "re.Match[str]") -> str:
        name, value = match[1].replace("_", "-"), match[2]
        return name if value is None else f"{name} = {value.lower() if value in ('True', 'False') else value}"

    return _ARGUMENT.sub(key, error.message).replace("must be True or False", "must be true or false")


def first_line(error: BaseException, limit: int = 120) -> str:
    """The first line of an exception's text, or the name of its type if it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:limit]


def shown(value: object) -> str:
    """A value of an argument in a message: lists joined by commas."""
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """The end of a line about an unknown word: `; did you mean breed?`. Empty if no known word is near.

    Case does not count, nor do `-`, `_` and spaces.
    """
    word, names = "cuda" if word == "gpu" else word, [str(name) for name in known]  # gpu is nearer to cpu
    plain = {_plain(other): other for other in names}
    near = difflib.get_close_matches(word.replace("_", "-").lower(), [other.lower() for other in names], 1, LIKE)
    meant = plain.get(_plain(word)) or next((other for other in names if [other.lower()] == near), None)
    return f"; did you mean {meant}?" if meant else ""


def _plain(word: str) -> str:
    return re.sub(r"[-_\s]", "", word).casefold() or word


def alike(word: str, names: Iterable[PurePath | str]) -> list[str]:
    """Names and paths, those first whose last part is most like a word."""
    texts = list(map(str, names))
    likeness = {text: difflib.SequenceMatcher(None, word, PurePath(text).name).ratio() for text in texts}
    return sorted(texts, key=lambda text: -likeness[text])
