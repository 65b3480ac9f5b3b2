"""Names in archives, checked before any of them is used as a path, and spelled in one way. Hidden folders."""

import re
import unicodedata
from pathlib import Path

from feedline.pipeline.errors import InputError

_HIDDEN_FOLDERS = {
    "__macosx",
    "@eadir",
    "#recycle",
    "@recycle",
    "recycler",
    "$recycle.bin",
    "system volume information",
    "lost+found",
    "__pycache__",
}
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


def is_hidden_folder(piece: str) -> bool:
    """Whether a folder is hidden, or made by a system for itself.

    Args:
        piece: its name, without the folders around it.
    """
    return piece.startswith(".") or piece.lower() in _HIDDEN_FOLDERS
