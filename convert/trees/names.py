"""Names in archives, checked before any of them is used as a path, and spelled in one way. Which are hidden."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from feedline.pipeline.errors import InputError

# What systems make for themselves, in lower case. On network drives (Synology, QNAP, NetApp) it begins with a mark, but
# a class may be called `#cat`, or `@`.
_HIDDEN_FOLDERS = re.compile(
    r"__macosx|__pycache__|lost\+found|found\.\d{3}|recycler|\$recycle\.bin|system volume information|"
    r"network trash folder|temporary items|~snapshots?|"
    r"[@#](eadir|recycle|snapshots?|recently-snapshot|tmp|temp|sharesnap|sharebin|syno\w*|s2s|quarantine|"
    r"app(store|temp|data|conf|home|share)|database|docker|autoupdate|cloudsync|cloudstation|activebackup|iscsi\w*)"
)
_HIDDEN_FILES = {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"}
_DRIVE = re.compile(r"[A-Za-z]:")


def plain_name(archive: Path, name: str, *, backslashes: bool = False) -> str:
    """A name in its plain spelling: `./cat//1.jpg` is `cat/1.jpg`, and letters with accents are composed (NFC).

    Args:
        archive: names it in errors.
        name: as the archive has it.
        backslashes: backslashes separate folders, as in zips that old Windows programs write.

    Returns:
        The name without a slash at the end; empty for the archive's top folder.

    Raises:
        InputError: if the name leads out of the archive.
    """
    both = name.replace("\\", "/")
    parts = both.split("/")
    if both.startswith("/") or ".." in parts or _DRIVE.match(both):
        raise InputError(
            f"{archive}: contains the unsafe name {name!r}; do not trust this {kind(archive)}, or unpack it yourself "
            "and give the folder"
        )
    parts = (both if backslashes else name).split("/")
    plain = "/".join(part for part in parts if part not in ("", "."))
    return plain if plain.isascii() else unicodedata.normalize("NFC", plain)


def kind(archive: Path) -> str:
    """What messages call an archive: `zip` or `tar`."""
    return "zip" if archive.suffix.lower() == ".zip" else "tar"


def slashes(name: str) -> list[int]:
    """Positions of the slashes, where the folders around a file end."""
    return [position for position, letter in enumerate(name) if letter == "/"]


def is_hidden_folder(piece: str) -> bool:
    """Whether a folder is hidden, or made by a system for itself.

    Args:
        piece: its name, without the folders around it.
    """
    return piece.startswith(".") or _HIDDEN_FOLDERS.fullmatch(piece.lower()) is not None


def visible_names(names: Iterable[str], *, folders: bool = False) -> tuple[list[str], list[str]]:
    """Divides names into those that a user sees, and hidden ones.

    Hidden is what begins with a dot, or what systems put into folders, and everything below.

    Args:
        names: of files.
        folders: the names are those of folders.
    """
    visible: list[str] = []
    hidden: list[str] = []
    known = {"": False}  # {folder: it is hidden}
    for name in names:
        folder, _, last = (name, "", "") if folders else name.rpartition("/")
        inside = known.get(folder)
        if inside is None:
            inside = known[folder] = any(is_hidden_folder(piece) for piece in folder.split("/"))
        is_hidden = inside or last.startswith(".") or last.lower() in _HIDDEN_FILES
        (hidden if is_hidden else visible).append(name)
    return visible, hidden
