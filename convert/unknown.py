"""Paths that are no source: what each is, and what to do with it."""

import re
import shlex
from pathlib import Path

from feedline.convert.layouts import is_image
from feedline.convert.trees import BrokenFile
from feedline.pipeline.errors import InputError
from feedline.program import command_line

START = 512  # bytes that are read to recognise a file

_UNPACK = "unpack it, and give the folder"
_PYTHON = "read it in Python, and convert with feedline.from_dataset"
_TABLE = "give the folder of the images as `source`, and this file with `labels`"
AGAIN = "download it again"
_MESSAGE = "a web page or a server's message, not the file"

# (the first bytes, what it is, what to do)
_MAGIC = [
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for", "run git lfs pull where it is"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it (7z x), and give the folder"),
    (b"Rar!\x1a\x07", "a RAR archive", "unpack it (unrar x), and give the folder"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it (tar --zstd -xf), and give the folder"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _PYTHON),
    (b"MATLAB 5.0", "a MATLAB file", _PYTHON),
    (b"\x93NUMPY", "a NumPy array", _PYTHON),
    (b"ARROW1", "an Arrow file", "load it with the package datasets, and convert with feedline.from_dataset"),
    (b"SQLite format 3", "a database", _PYTHON),
    (b"%PDF", "a PDF", "give a folder of images"),
]
_IMAGE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|BM|II\*\0|MM\0\*|RIFF....WEBP|....ftyp(avif|heic|heix|mif1)", re.S)
_VIDEO = re.compile(rb"\x1aE\xdf\xa3|RIFF....AVI |....ftyp", re.S)
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype html|html|head|\?xml|error)", re.S | re.I)
_IDX = re.compile(rb"\0\0\x08[\x01-\x04]")

# By the end of the name, for files that do not begin in a way of their own.
_NAMES = [
    (r"\.(npz|npy)", "a NumPy archive", _PYTHON),
    (r"\.(pt|pth|pkl|pickle|ckpt)", "a file of PyTorch or pickle", _PYTHON),
    (r"\.(h5|hdf5)", "an HDF5 file", _PYTHON),
    (r"\.mat", "a MATLAB file", _PYTHON),
    (r"\.(tfrecords?|tfrec)(-\d+-of-\d+)?", "a TFRecord file", _PYTHON),
    (r"\.(mdb|lmdb)", "a database", _PYTHON),
    (r"\.(csv|tsv|xlsx?)", "a table", _TABLE),
    (r"\.(jsonl?|txt|xml|ya?ml)", "a text file", _TABLE),
    (r"\.(part|crdownload|download|aria2)", "an incomplete download", "finish it, or download it again"),
    (r"\.(z\d\d|\d\d\d|part\d+\.rar|tar\.gz\.?\w\w)", "one piece of an archive", "join the pieces, and give the whole"),
    (r"\.(docx?|pptx?|apk|jar|exe|iso|dmg)", "no archive of images", "give a zip, a tar or a folder of images"),
    (r"\.zip", "not a zip, whatever its name says", AGAIN),
    (r"\.(tar|tgz|tbz2?|txz|gz|bz2|xz|zst)", "not a readable tar", f"{AGAIN}, or {_UNPACK}"),
]


def describe_file(path: Path) -> str | None:
    """What a file is, if it is one of the usual things that are no source: a line for the user."""
    with path.open("rb") as file:
        start = file.read(START)
    if not start:
        return _line(path, "an empty file", AGAIN)
    for magic, what, advice in _MAGIC:
        if start.startswith(magic):
            return _line(path, what, advice)
    if _PAGE.match(start):
        advice = "open the address in a browser, download the file itself, and give that"
        return _line(path, _MESSAGE, advice)
    if _IMAGE.match(start) or is_image(path.name):
        return _line(path, "one image", "give the folder that holds the folders of the classes")
    if _VIDEO.match(start):
        return _line(path, "a video", "save its frames as images, and give their folder")
    if _IDX.match(start) or "ubyte" in path.name:
        return _line(path, "one file of MNIST's format", "give the folder with its images and labels")
    return _by_name(path)


def _by_name(path: Path) -> str | None:
    for pattern, what, advice in _NAMES:
        if re.search(pattern + "$", path.name, re.I):
            return _line(path, what, advice)
    return None


def refuse_file(path: Path) -> InputError:
    """The error for a file that is no source."""
    line = describe_file(path)
    if line is None:
        line = _line(path, "no kind of file that is read", _unknown())
        return BrokenFile(line) if _is_text(path) else InputError(line)
    return BrokenFile(line) if AGAIN in line or _MESSAGE in line else InputError(line)


def _is_text(path: Path) -> bool:
    """Whether a file may be what a server says instead of sending one."""
    with path.open("rb") as file:
        start = file.read(START)
    return not re.search("[\0-\x08\x0e-\x1f\ufffd]", start.decode("utf-8", "replace")[: START // 2])


def check_folder(path: Path) -> None:
    """Checks that a folder is not one of the usual things that are no source.

    Raises:
        InputError: if it is empty, a dataset, a run, a database, or holds one archive only.
    """
    names = sorted(p.name for p in path.iterdir() if not p.name.startswith("."))
    if not names:
        raise InputError(_line(path, "an empty folder", "give a folder of images"))
    if "dataset.json" in names and "lists" in names:
        raise InputError(_line(path, "a dataset that is built already", _train(path)))
    if "run.json" in names and "log.jsonl" in names:
        raise InputError(_line(path, "a run of training", "give the images that the run was trained on"))
    if "data.mdb" in names:
        raise InputError(_line(path, "an LMDB database", _PYTHON))
    if len(names) == 1 and re.search(r"\.(zip|tar|tgz|tar\.\w+|7z|rar)$", names[0], re.I):
        raise InputError(_line(path, f"a folder that holds {names[0]} only", f"give {path / names[0]}"))
    if all(re.search(r"\.(tfrecords?|tfrec)(-\d+-of-\d+)?$|-\d{5}-of-\d{5}$", name, re.I) for name in names):
        raise InputError(_line(path, "a folder of TFRecord files", _PYTHON))


def _train(path: Path) -> str:
    return f"train with it: {command_line('train')} --mode train --data {shlex.quote(str(path))}"


def _unknown() -> str:
    return "give a folder of images, a zip, a tar, webdataset shards, or a Parquet file"


def _line(path: Path, what: str, advice: str) -> str:
    return f"`source={path}`: {what}; {advice}"
