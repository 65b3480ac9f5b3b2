"""Helpers for the tests of the converter."""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feedline import Dataset
from feedline.convert import build


def jpeg(seed: int = 0, size: tuple[int, int] = (20, 20), mode: str = "RGB", **options: object) -> bytes:
    """A JPEG of noise."""
    rng = np.random.default_rng(seed)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def save_noise(path: Path, seed: int, mode: str = "RGB", size: tuple[int, int] = (20, 30), **options: Any) -> bytes:
    """Saves an image of noise, of this height and width, in the format of the suffix, and returns the file's bytes."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(path, **options)
    return path.read_bytes()


ODD = ("turned.jpg", "deep.png", "deep.pgm", "one.png", "palette.gif")


def save_odd(folder: Path) -> None:
    """Files that Pillow opens in other modes, or not upright: those named in ODD, 20 pixels high and 10 wide."""
    values = np.random.default_rng(0).integers(0, 2**16, (20, 10), dtype=np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "turned.jpg").write_bytes(jpeg(size=(10, 20), exif=exif))
    Image.fromarray(values).save(folder / "deep.png")
    (folder / "deep.pgm").write_bytes(b"P5 10 20 65535\n" + values.astype(">u2").tobytes())
    Image.fromarray(values > 2**15).save(folder / "one.png")
    Image.fromarray((values >> 8).astype(np.uint8)).convert("P").save(folder / "palette.gif")


def zipped(folder: Path, target: Path, change: Callable[[zipfile.ZipFile], None] | None = None) -> Path:
    """Zips a folder; `change` may add to the zip."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
        if change is not None:
            change(archive)
    return target


def file_digests(dataset: Dataset) -> dict[str, str]:
    """The digest of every file of a dataset folder except those that depend on the source, and their checksums."""
    of_source = ("dataset.json", "source.npy", "checksums.txt")
    files = (p for p in dataset.root.rglob("*") if p.is_file() and p.name not in of_source)
    return {str(p.relative_to(dataset.root)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}


def refusal(
    capsys: pytest.CaptureFixture[str], source: Path | str, out: Path, *flags: str, left: Sequence[str] = ()
) -> str:
    """Runs a command that must exit with status 2, and must not create or remove `out`. Returns its line of error.

    Args:
        capsys: pytest's fixture.
        source, out, flags: arguments of the command.
        left: names of temporary folders that must remain.
    """
    existed = out.exists()
    assert build.main(["--source", str(source), "--out", str(out), "--workers", "1", *flags]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert out.exists() == existed
    assert [p.name for p in out.parent.glob(f".{out.name}*")] == list(left)
    return lines[0]
