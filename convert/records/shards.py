"""Which tars a source means: `shards-{000..009}.tar`, `train-*.tar`, several of these joined by `::`, or a folder."""

import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from feedline.pipeline.errors import InputError

MAX_SHARDS = 100_000
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_RANGE = re.compile(r"(\d+)\.\.(\d+)(?:\.\.(\d+))?")


def is_pattern(source: str) -> bool:
    """Whether a source that is no path itself stands for several files."""
    return (
        "://" not in source
        and not os.path.lexists(source)
        and bool("::" in source or re.search(r"\{.*[,.].*\}|[*?\[]", source))
    )


def expand(source: str) -> list[Path]:
    """The files that a pattern stands for, as the package webdataset spells patterns, and a shell its globs.

    Args:
        source: the pattern.

    Returns:
        The files from the root, in the order of the pattern; those of a glob are sorted.

    Raises:
        InputError: if there are none, or one is missing.
    """
    paths: list[Path] = []
    for name in itertools.chain.from_iterable(map(_expand_braces, source.split("::"))):
        found = [name] if os.path.lexists(name) else sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - a pattern may be absolute
        if not found:
            what = "no such file" if not glob.has_magic(name) else "no file has such a name"
            raise InputError(f"`source={source}`: {name}: {what}; correct the pattern, or download what is missing")
        paths += map(_from_root, found)
    if len(set(paths)) < len(paths):
        raise InputError(f"`source={source}`: names a file twice; correct the pattern")
    return paths


def common_folder(paths: Sequence[Path]) -> Path:
    """The folder around all files."""
    return Path(os.path.commonpath([path.parent for path in paths]))


def _from_root(name: str) -> Path:
    """A path from the root. Links keep their names, which may say a part."""
    path = Path(os.path.abspath(name))  # noqa: PTH100 - `resolve` follows links
    if path.exists() and path.samefile(name):
        return path
    return Path(name).parent.resolve() / Path(name).name  # `link/..` is not the folder that holds the link


def _expand_braces(pattern: str) -> list[str]:
    """`a{0..2}{x,y{1,2}}` as a shell expands it. Numbers keep their zeros; a third one is the step."""
    start = pattern.find("{")
    if start < 0:
        return [pattern]
    pieces, end = _pieces(pattern, start)
    if len(pieces) == 1:
        choices = _range(pieces[0], pattern)
    else:
        choices = [choice for piece in pieces for choice in _expand_braces(piece)]
    rest = _expand_braces(pattern[end:])
    return [f"{pattern[:start]}{choice}{tail}" for choice in choices for tail in rest]


def _pieces(pattern: str, start: int) -> tuple[list[str], int]:
    """What stands between the commas of the braces that open at `start`, and the index behind them."""
    pieces, depth = [""], 0
    for index in range(start, len(pattern)):
        letter = pattern[index]
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return pieces, index + 1
        if letter == "," and depth == 1:
            pieces.append("")
        elif index > start:
            pieces[-1] += letter
    raise InputError(f"`source={pattern}`: a brace is not closed; correct the pattern")


def _range(inside: str, pattern: str) -> list[str]:
    match = _RANGE.fullmatch(inside)
    if match is None:
        raise InputError(
            f"`source={pattern}`: {{{inside}}} is no range such as {{000..009}} and no choice such as {{a,b}}"
        )
    first, last, step = int(match[1]), int(match[2]), max(int(match[3] or 1), 1)
    if abs(last - first) // step >= MAX_SHARDS:
        raise InputError(f"`source={pattern}`: stands for more than {MAX_SHARDS:,} files; correct the range")
    width = max(len(match[1]), len(match[2])) if match[1][0] == "0" or match[2][0] == "0" else 0
    numbers = range(first, last + 1, step) if first <= last else range(first, last - 1, -step)
    return [f"{number:0{width}d}" for number in numbers]
