"""Folders for the results of modes: none that holds something else."""

from pathlib import Path

from feedline.cli.claim import Claims
from feedline.pipeline.errors import InputError

# {mode: a file that it writes}. They share others, as report.html, which a training writes too.
FILES = {"eval": "eval.json", "lrfind": "lr_range.json", "bench": "bench.json", "peek": "peek.html"}
PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"}
DRAWN = 8  # pictures in the folder of a run, at most


def claim_results(claims: Claims, out: str, mode: str) -> Path:
    """Claims the folder that `--out` names for the results of a mode.

    Raises:
        InputError: if it cannot be written, another run lives there, or it holds a dataset, images or other results.
    """
    folder = Path(out)
    if (folder / "dataset.json").exists():
        raise _holds(out, "a dataset")
    if images := _folder_of_images(folder):
        raise _holds(out, f"images, in {images.name}/")
    claims.take(folder)
    if mode != "train" and (folder / "run.json").exists():
        raise _holds(out, "a training run")
    for other, file in FILES.items() if mode in (*FILES, "train") else ():
        if other != mode and (folder / file).exists():
            raise _holds(out, f"the results of --mode {other}")
    return folder


def _holds(out: str, what: str) -> InputError:
    return InputError(f"`out={out}`: holds {what}; choose another folder for the results")


def _folder_of_images(folder: Path) -> Path | None:
    """A folder in it with more pictures than a run draws: a class of somebody's images. None if there is none."""
    try:
        inside = [path for path in folder.iterdir() if path.is_dir()]
        pictures = {path: [p for p in path.iterdir() if p.suffix.lower() in PICTURES] for path in inside}
    except OSError:  # said when it is claimed
        return None
    return next((path for path, found in pictures.items() if len(found) > DRAWN), None)
