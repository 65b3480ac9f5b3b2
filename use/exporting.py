"""A certified export: written, asked again on real images, and put in place only if it answers as the network did."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from feedline.pipeline.errors import InputError
from feedline.use.deployed import metadata
from feedline.use.forms import FILES
from feedline.use.loading import Loaded
from feedline.use.outputs import writing_to
from feedline.use.probes import FILE, Probes, check
from feedline.use.reading import open_exported
from feedline.use.timm_form import CONFIG, write_timm
from feedline.use.write import write_onnx, write_torch

OURS = {*FILES.values(), FILE, CONFIG, "README.md"}  # what an export consists of
Write = Callable[[Path, Loaded, Mapping[str, Any]], Path]
WRITE: dict[str, Write] = {"onnx": write_onnx, "torch": write_torch, "timm": write_timm}


def export(
    out: Path,
    loaded: Loaded,
    forms: Sequence[str],
    probes: Probes,
    about: Mapping[str, Any],
    card: Callable[[Path], None],
    say: Callable[[str], None] = print,
) -> None:
    """Writes a network in some forms, with the probes and a model card beside them.

    Args:
        out: the folder, which passed `check_folder`; an earlier export is replaced, with the forms that it had.
        loaded: the network.
        forms: which.
        probes: on which each form must answer as the network did.
        about: of the run, for the metadata.
        card: writes the model card into a folder.
        say: is told how each form answers.

    Raises:
        InputError: if a form cannot be written, or answers otherwise; then nothing is written.
    """
    about = metadata(loaded, about)
    with writing_to(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        with writing_to(out):
            probes.save(folder)
        for form in forms:
            with writing_to(out):
                path = WRITE[form](folder, loaded, about)
            ok, line = check(path, probes, open_exported(path))
            line = line.replace(str(path), str(out / path.name))
            if not ok:
                raise InputError(f"{line}; nothing was written")
            say(line)
        with writing_to(out):
            card(folder)
            removed = _put_in_place(folder, out)
        if removed:
            say(f"{out}: removed {', '.join(removed)} of the earlier export")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_folder(out: Path) -> None:
    """Raises InputError if a folder holds anything but an earlier export, which is known by its probes."""
    with writing_to(out):
        if out.exists() and not out.is_dir():
            raise InputError(f"`out={out}`: is a file; name a folder")
        files = out.iterdir() if out.exists() else ()
        names = {path.name for path in files if not path.name.startswith(".")}  # as .DS_Store
    others = sorted(names - OURS if FILE in names and _has_probes(out) else names)
    if others:
        raise InputError(
            f"`out={out}`: holds other files ({', '.join(others[:3])}); name a new folder, or that of an earlier export"
        )


def _has_probes(out: Path) -> bool:
    try:
        Probes.load(out)
    except InputError:
        return False
    return True


def _put_in_place(folder: Path, out: Path) -> list[str]:
    """Replaces an earlier export; returns the names of its files that have no successor, which are gone."""
    out.mkdir(exist_ok=True)
    new = {path.name for path in folder.iterdir()}
    removed = [name for name in sorted(OURS - new) if (out / name).exists()]
    for name in removed:
        (out / name).unlink()
    for name in sorted(new):
        (folder / name).replace(out / name)
    return removed
