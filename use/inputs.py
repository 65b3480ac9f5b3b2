"""Which files a command line means: files, folders, globs, and names on stdin."""

import glob
import io
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from feedline.convert.layouts.taken import NOT_AN_IMAGE, divide, remedies, suffix_of
from feedline.convert.trees import Contents
from feedline.convert.trees.folder import written
from feedline.convert.trees.names import is_hidden_folder, visible_names
from feedline.output import counted, listed, one_line
from feedline.pipeline.errors import InputError

STDIN = "-"
logger = logging.getLogger(__name__)


def image_files(words: Sequence[str], stdin: Iterable[str] = ()) -> Iterator[str]:
    """The files to read, in the order of the words.

    Args:
        words: files, which are taken whatever they are called; folders, of which all images below them are taken, in
            the order of their names; patterns as `photos/*.jpg` or `photos/**/*.png`; `-` for lines of stdin. Which
            files of a folder are images is what the converter would say.
        stdin: lines, each a file or a folder.

    Raises:
        InputError: if a folder holds no image (of one on stdin is only warned), or nothing matches a pattern.
    """
    if STDIN in words and isinstance(stdin, io.TextIOWrapper):
        stdin.reconfigure(errors="surrogateescape")  # names need not be UTF-8
    for word in words:
        if word == STDIN:
            for line in stdin:
                if name := line.rstrip("\r\n"):
                    yield from _listed(name)
        elif os.path.isdir(word):  # noqa: PTH112  Path.is_dir raises OSError if the name is too long
            yield from _below(word)
        elif re.search(r"[*?\[]", word) and not os.path.exists(word):  # noqa: PTH110
            yield from _matching(word)
        else:
            yield word


def _listed(name: str) -> Iterator[str]:
    """What a line of stdin names. One that names nothing is no reason to end a long list."""
    if not os.path.isdir(name):  # noqa: PTH112
        yield name
        return
    try:
        yield from _below(name)
    except InputError as error:
        logger.warning("%s", one_line(error))


def _matching(pattern: str) -> Iterator[str]:
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not names:
        raise InputError(f"{pattern}: matches no file")
    deep, hidden = "**" in pattern, {name for name in names if _in_hidden(name, pattern)}
    if len(hidden) == len(names):
        raise InputError(f"{pattern}: matches hidden folders only, which are not read; name them in the pattern")
    if hidden:
        logger.warning("%s: %s in hidden folders left out", one_line(pattern), counted(len(hidden), "match", "matches"))
    for name in names:
        if name in hidden:
            continue
        if not Path(name).is_dir():
            yield name
        elif not deep:  # `**` names the files of folders too
            yield from _below(name)


def _in_hidden(name: str, pattern: str) -> bool:
    """Whether what a pattern matches is, or lies in, a hidden folder that the pattern does not name."""
    folders = name.split("/") if Path(name).is_dir() else name.split("/")[:-1]
    named = pattern.split("/")  # a name with a dot is matched by one with a dot only
    return any(is_hidden_folder(piece) and not piece.startswith(".") and piece not in named for piece in folders)


@dataclass
class _Walked:
    """The files below a folder, for `divide`; names begin with that of the folder.

    Attributes:
        contents: the files that are not hidden, in order. What cannot be opened has no bytes.
        hidden: folders that were not read.
    """

    contents: Contents = field(default_factory=lambda: Contents({}, []))
    hidden: list[str] = field(default_factory=list)

    def read(self, name: str) -> bytes:
        return Path(name).read_bytes()

    def head(self, name: str, count: int) -> bytes:
        with Path(name).open("rb") as file:
            return file.read(count)


def _below(folder: str) -> Iterator[str]:
    """The images below a folder. What else is there is said."""
    walked = _walk(folder)
    images, others = divide(walked, walked.contents.files)
    lines = _not_taken(others, walked.hidden)
    if not images:
        raise InputError("; ".join([f"{folder}: no image in this folder", *lines]))
    for line in lines:
        logger.warning("%s: %s", one_line(folder), one_line(line))
    taken = set(images)
    yield from (name for name in walked.contents.files if name in taken)


def _walk(folder: str) -> _Walked:
    """Lists a folder. Each folder in it is read once, however many links lead to it.

    Pipes and the like, whose reading may never end, are left out, which is said.
    """
    walked, known = _Walked(), {Path(folder).resolve()}
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_say_unreadable):
        if root != folder and (what := written(files)):
            logger.warning("%s: %s, which is not read", one_line(root), what)
            folders.clear()
            continue
        walked.hidden += [name for name in sorted(folders) if is_hidden_folder(name)]
        folders[:] = [n for n in sorted(folders) if not is_hidden_folder(n) and _is_new(Path(root) / n, known)]
        for name in visible_names(sorted(files))[0]:
            path = Path(root) / name
            if (size := _size(path)) is None:
                logger.warning("%s: left out, because it is a pipe or a device, not a file", one_line(path))
            else:
                walked.contents.files[str(path)] = size
    return walked


def _size(path: Path) -> int | None:
    """Bytes of a file; None if it is a pipe or the like, and 0 if that is not known: reading it fails, and is said."""
    try:
        status = path.stat()
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _say_unreadable(error: OSError) -> None:
    logger.warning("%s: left out, because it cannot be read (%s)", one_line(error.filename), error.strerror)


def _not_taken(others: Mapping[str, str], hidden: Sequence[str]) -> list[str]:
    """Lines on the files below a folder that are not images, or cannot be decoded, and on hidden folders."""
    lines = remedies(others)
    if plain := [suffix_of(name) or "no suffix" for name, reason in others.items() if reason == NOT_AN_IMAGE]:
        lines.append(f"{counted(len(plain), 'file')} not taken: no images ({_few(plain)})")
    if hidden:
        lines.append(f"{counted(len(hidden), 'hidden folder', 'hidden folders')} not read ({_few(hidden)})")
    return lines


def _few(names: Iterable[str]) -> str:
    return listed(sorted(set(names)))


def _is_new(folder: Path, known: set[Path]) -> bool:
    """Whether a folder is none of those that are known; it is known from now on."""
    before, real = len(known), folder.resolve()
    known.add(real)
    return len(known) > before
