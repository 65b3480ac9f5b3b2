"""What to say where a dataset was looked for and is none."""

import os
import shlex
from pathlib import Path

from feedline.pipeline.errors import InputError, alike
from feedline.program import command_line

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
BUILT_IN = {"tiny-imagenet": "", "sample": " --source sample"}  # by the names of their folders in data/
SHOWN = 5


def no_dataset(root: Path) -> InputError:
    """The error that there is no dataset, with advice for what is there instead."""
    here = os.fspath(root)
    if root.is_file():
        return InputError(_of_file(root))
    if inside := next((above for above in root.absolute().parents if _is_dataset(above)), None):
        return InputError(f"no dataset at {here}: it lies in one, name that: {inside}")
    if within := _datasets(root):
        return InputError(
            f"no dataset at {here}, but there are some in it; name one of them: {', '.join(within[:SHOWN])}"
        )
    if (root / "run.json").is_file():
        return InputError(f"no dataset at {here}: it is a run; name the dataset that it trained on, see its run.json")
    if root.is_dir() and any(root.iterdir()):
        name = root.name or root.absolute().name
        out = root.parent / "data" / name
        if built := next((folder for folder in (out, Path("data") / name) if _is_dataset(folder)), None):
            return InputError(f"no dataset at {here} (there is no dataset.json); there is one at {built}: name that")
        return InputError(
            f"no dataset at {here} (there is no dataset.json); if it holds images, convert them once: "
            f"{_convert(root, out)}, then name {out}"
        )
    near = [folder for folder in {*_datasets(root.parent), *_datasets(Path("data"))} if Path(folder) != root]
    known = f"; name one that is there: {', '.join(alike(root.name, sorted(near))[:SHOWN])}, or" if near else ";"
    what = "the folder is empty" if root.is_dir() else "there is no such folder"
    return InputError(f"no dataset at {here} ({what}){known} {_how_to_build(root, named=bool(near))}")


def _of_file(path: Path) -> str:
    if path.name == "dataset.json":
        return f"no dataset at {path}: it is the description of one, name its folder: {path.parent}"
    if path.suffix.lower() in ARCHIVES:
        out = path.parent / "data" / path.name.split(".")[0]
        return f"no dataset at {path}: it is an archive; convert it once: {_convert(path, out)}, then name {out}"
    return f"no dataset at {path}: it is a file; name the folder that {command_line('convert')} wrote"


def _how_to_build(root: Path, *, named: bool) -> str:
    """The command that would write a dataset here. Only of the built-in sources it is known whole."""
    if root.parent.name == "data" and root.name in BUILT_IN:
        return f"build it with: {command_line('convert')}{BUILT_IN[root.name]} --out {shlex.quote(str(root))}"
    name = "" if named else f"name the folder that {command_line('convert')} wrote, or "
    return f"{name}convert images: {_convert('IMAGES', root)}"


def _convert(source: Path | str, out: Path) -> str:
    return f"{command_line('convert')} --source {shlex.quote(str(source))} --out {shlex.quote(str(out))}"


def _is_dataset(folder: Path) -> bool:
    return (folder / "dataset.json").is_file()


def _datasets(folder: Path) -> list[str]:
    """The dataset folders in a folder."""
    try:
        return sorted(os.fspath(path) for path in folder.iterdir() if _is_dataset(path))
    except OSError:
        return []
