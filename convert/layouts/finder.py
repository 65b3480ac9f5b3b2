"""Finds the images that the rows of a table mean."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from posixpath import normpath

from feedline.convert.layouts.parts import spelled
from feedline.pipeline.dataset import PartName

_COMMON = 8  # images of one name

# {folders nearest to the file, none to all: the names that have them}
Endings = dict[tuple[str, ...], list[str]]


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
        self._common: dict[str, Endings] = {}  # by file or stem, where many images have that name
        self._chosen: dict[tuple[object, ...], list[str]] = {}  # likewise

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

    def _endings(self, file: str) -> Endings:
        if file in self._common:
            return self._common[file]
        names = self._by_file.get(file) or self._by_stem.get(file) or []
        endings = _by_ending(names)
        if len(names) > _COMMON:
            self._common[file] = endings
        return endings

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
        pieces = [piece for piece in above.split("/") if piece not in ("", ".", "..")]
        endings, part = self._endings(file), _part(pieces)
        for start in range(len(pieces) + 1):
            if found := self._with_ending(endings, tuple(pieces[start:]), part, _file(text)):
                return found
        return []

    def _with_ending(self, endings: Endings, ending: tuple[str, ...], part: PartName | None, file: str) -> list[str]:
        """The names in these folders that are not of another part: those that are spelled as the file, or all."""
        names = endings.get(ending, [])
        key = (file, ending, part)
        if key in self._chosen:
            return self._chosen[key]
        # test/1.jpg is not train/1.jpg
        nearest = [name for name in names if not part or _part(_folders(name)) in (None, part)]
        found = [name for name in nearest if is_spelled(file, name)] or nearest
        if len(names) > _COMMON:
            self._chosen[key] = found
        return found


def is_spelled(text: str, name: str) -> bool:
    """Whether a table calls an image as its file is called, with its suffix or without, letter for letter."""
    return _file(text.replace("\\", "/")) in (_file(name), _file(name).rpartition(".")[0])


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _by_ending(names: list[str]) -> Endings:
    endings: Endings = defaultdict(list)
    for name in names:
        folders = _folders(name)
        for start in range(len(folders) + 1):
            endings[tuple(folders[start:])].append(name)
    return endings


def _folders(name: str) -> list[str]:
    return folded(name).split("/")[:-1]


def _part(folders: list[str]) -> PartName | None:
    return next((part for folder in reversed(folders) if (part := spelled(folder))), None)
