"""Which files a command line means: files, folders, globs, and names on stdin."""

import glob
import io
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from feedline.convert.layouts.taken import is_image
from feedline.output import one_line
from feedline.pipeline.errors import InputError

STDIN = "-"
logger = logging.getLogger(__name__)


def image_files(words: Sequence[str], stdin: Iterable[str] = ()) -> Iterator[str]:
    """The files to read, in the order of the words.

    Args:
        words: files, which are taken whatever they are called; folders, of which all images below them are taken, in
            the order of their names; patterns as `photos/*.jpg` or `photos/**/*.png`; `-` for lines of stdin.
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
    deep = "**" in pattern
    for name in names:
        if not Path(name).is_dir():
            yield name
        elif not deep:  # `**` names the files of folders too
            yield from _below(name)


def _below(folder: str) -> Iterator[str]:
    """The images below a folder. Each folder is read once, however many links lead to it.

    Pipes and the like, whose reading may never end, are left out, which is said.
    """
    found, known = False, {Path(folder).resolve()}
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [n for n in sorted(folders) if not n.startswith(".") and _is_new(Path(root) / n, known)]
        for name in sorted(filter(is_image, files)):
            path = Path(root) / name
            if path.exists() and not path.is_file():
                logger.warning("%s: left out, because it is a pipe or a device, not a file", one_line(path))
                continue
            found = True
            yield str(path)
    if not found:
        raise InputError(f"{folder}: no image in this folder")


def _is_new(folder: Path, known: set[Path]) -> bool:
    """Whether a folder is none of those that are known; it is known from now on."""
    before, real = len(known), folder.resolve()
    known.add(real)
    return len(known) > before
