"""Opens a source by what it is: the name of a built-in one, a URL, an archive or a folder."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from feedline.convert import unknown
from feedline.convert.download import Remote, checksum, download
from feedline.convert.layouts import Listing, Wanted
from feedline.convert.layouts.choose import GUESS, read_layout
from feedline.convert.sample import draw_sample
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Tree
from feedline.convert.trees.compressed import compression, is_tar, unpack
from feedline.convert.trees.folder import FolderTree
from feedline.convert.trees.tar import TarTree
from feedline.convert.trees.zip import ZipTree
from feedline.pipeline.errors import InputError

TINY_IMAGENET = Remote(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip", 248_100_043, "md5", "90528d7ca1a48142e341f4ef8d21d0de"
)

_SUFFIX = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
# Hidden files and what file managers leave, which are no part of a source.
_LITTER = re.compile(r"(^|/)(\.|Thumbs\.db$|desktop\.ini$|__MACOSX/|@eaDir/)")


def default_name(source: str) -> str:
    """The name of the dataset made from a source: `tiny-imagenet`, `sample`, or that of the file or folder."""
    if source in ("tiny-imagenet", "sample"):
        return source
    name = Remote.parse(source).filename if "://" in source else Path(source).resolve().name
    return _SUFFIX.sub("", name) or name


@contextmanager
def open_source(source: str, downloads: Path, out: Path | None = None, wanted: Wanted = GUESS) -> Iterator[Listing]:
    """Lists the images of a source, after downloading, drawing or unpacking it if need be.

    The listing can be used until the block ends.

    Args:
        source: `tiny-imagenet`, `sample`, the URL of an archive, or the path of an archive or a folder.
        downloads: folder for downloads, which are kept.
        out: the dataset folder; what is unpacked lies beside it for a while. In `downloads` if None.
        wanted: how labels are to be found.

    Raises:
        InputError: if there is no such source, or it cannot be used.
    """
    with contextlib.closing(Scratch(out or downloads / "unpacked")) as scratch:
        if source == "sample":
            with tempfile.TemporaryDirectory() as folder:
                yield _folder(source, draw_sample(Path(folder) / source), wanted)
        elif source == "tiny-imagenet":
            yield _download(source, TINY_IMAGENET, downloads, scratch, wanted)
        elif "://" in source:
            yield _download(default_name(source), Remote.parse(source), downloads, scratch, wanted)
        elif (path := Path(source)).is_file():
            tree, kind = _open_archive(path, scratch)
            origin = {kind: path.name, "md5": checksum(path, "md5")}
            yield read_layout(default_name(source), tree, origin, wanted)
        elif path.is_dir():
            unknown.check_folder(path)
            yield _folder(default_name(source), path, wanted)
        else:
            raise _missing(source)


def path_files(source: str, tree: Tree | None = None) -> dict[str, tuple[int, int]]:
    """The files of a source that is a path: {name: (bytes, time of the last change in ns)}.

    Names are relative to a folder: where it stands does not matter, nor does the name of an archive. What file
    managers put into folders is left out.

    Args:
        source: the path.
        tree: of the folder, if it is listed already.

    Raises:
        InputError: if there is nothing.
    """
    path = Path(source)
    if path.is_dir():
        folder = tree if isinstance(tree, FolderTree) and tree.root == path else FolderTree(path)
        return {name: stamp for name, stamp in folder.stamps.items() if not _LITTER.search(name)}
    if path.is_file():
        status = path.stat()
        return {"": (status.st_size, status.st_mtime_ns)}
    raise _missing(source)


def _missing(source: str) -> InputError:
    return InputError(
        f"`source={source}`: no such file or folder; give tiny-imagenet, sample, a URL, an archive or a folder of "
        "images"
    )


def _folder(name: str, path: Path, wanted: Wanted) -> Listing:
    return read_layout(name, FolderTree(path), {"folder": path.resolve().name}, wanted)


def _download(name: str, remote: Remote, downloads: Path, scratch: Scratch, wanted: Wanted) -> Listing:
    path = download(remote, downloads)
    origin: dict[str, Any] = {"url": remote.url, "bytes": path.stat().st_size, "md5": checksum(path, "md5")}
    return read_layout(name, _open_archive(path, scratch)[0], origin, wanted)


def _open_archive(path: Path, scratch: Scratch) -> tuple[Tree, str]:
    """An archive as a tree, by its content, and the word for it.

    Raises:
        InputError: if the file is no archive that can be read.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] == b"PK" and (path.suffix.lower() == ".zip" or unknown.describe_file(path) is None):
        return ZipTree(path), "zip"
    if not is_tar(path):
        raise unknown.refuse_file(path)
    if compression(path) is None:
        return TarTree(path), "tar"
    plain = scratch.folder() / "unpacked.tar"
    unpack(path, plain)
    return TarTree(plain, str(path)), "tar"
