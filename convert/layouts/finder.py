"""Finds the images that the rows of a table mean."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from posixpath import normpath

from feedline.convert.layouts.parts import spelled


def folded(text: str) -> str:
    """Equal for texts that differ in case only, or in how their accents are written (NFC, NFD)."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


class Finder:
    """Images by what tables call them: a path, the end of one, a name, or a name without its suffix.

    Names that are equal go before those that differ in case only, or in how accents are written.

    Args:
        names: of the images in the tree.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    @cached_property
    def _by_file(self) -> dict[str, list[str]]:
        files: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            files[folded(_file(name))].append(name)
        return files

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        stems: dict[str, list[str]] = defaultdict(list)
        for file, names in self._by_file.items():
            stems[file.rpartition(".")[0] or file] += names
        return stems

    def is_file_name(self, text: str) -> bool:
        """Whether a text is the name of an image, with its suffix."""
        return folded(_file(text.replace("\\", "/"))) in self._by_file

    def find(self, text: str, folder: str) -> list[str]:
        """The images that a field of a table may mean.

        Args:
            text: the field.
            folder: see `Table.folder`.
        """
        text = text.replace("\\", "/")
        if not text or text.endswith("/"):
            return []
        exact = normpath(folder + text)
        if exact in self._names:
            return [exact]
        above, _, file = folded(text).rpartition("/")
        found = self._by_file.get(file) or self._by_stem.get(file) or []
        nearest = _nearest(found, [piece for piece in above.split("/") if piece not in ("", ".", "..")])
        return [name for name in nearest if is_spelled(text, name)] or nearest


def is_spelled(text: str, name: str) -> bool:
    """Whether a table calls an image as its file is called, with its suffix or without, letter for letter."""
    return _file(text.replace("\\", "/")) in (_file(name), _file(name).rpartition(".")[0])


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _nearest(names: list[str], above: list[str]) -> list[str]:
    """The names whose folders agree best with those of a path, which may be of another computer."""
    part = next((part for piece in reversed(above) if (part := spelled(piece))), None)
    agreeing: dict[int, list[str]] = defaultdict(list)
    for name in names:
        folders = folded(name).split("/")[:-1]
        own = next((own for piece in reversed(folders) if (own := spelled(piece))), None)
        if part and own and part != own:  # test/1.jpg is not train/1.jpg
            continue
        count = 0
        while count < min(len(folders), len(above)) and folders[-1 - count] == above[-1 - count]:
            count += 1
        agreeing[count].append(name)
    return agreeing[max(agreeing)] if agreeing else []
