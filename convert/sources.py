"""Opens a source by what it is: the name of a built-in one, a URL, a zip or a folder."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from feedline.convert.download import Remote, checksum, download
from feedline.convert.layouts import Listing
from feedline.convert.layouts.choose import read_layout
from feedline.convert.sample import draw_sample
from feedline.convert.trees.folder import FolderTree
from feedline.convert.trees.zip import ZipTree
from feedline.pipeline.errors import InputError

TINY_IMAGENET = Remote(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip", 248_100_043, "md5", "90528d7ca1a48142e341f4ef8d21d0de"
)


def default_name(source: str) -> str:
    """The name of the dataset made from a source: `tiny-imagenet`, `sample`, or that of the file or folder."""
    if source in ("tiny-imagenet", "sample"):
        return source
    if "://" in source:
        return Path(Remote.parse(source).filename).stem
    path = Path(source).resolve()
    return path.stem if path.suffix == ".zip" else path.name


@contextmanager
def open_source(source: str, downloads: Path) -> Iterator[Listing]:
    """Lists the images of a source, after downloading or drawing it if need be.

    The listing can be used until the block ends.

    Args:
        source: `tiny-imagenet`, `sample`, the URL of a zip, or the path of a zip or a folder.
        downloads: folder for downloads, which are kept.

    Raises:
        InputError: if there is no such source, or it cannot be used.
    """
    if source == "sample":
        with tempfile.TemporaryDirectory() as folder:
            yield _folder(source, draw_sample(Path(folder) / source))
    elif source == "tiny-imagenet":
        yield _download(source, TINY_IMAGENET, downloads)
    elif "://" in source:
        yield _download(default_name(source), Remote.parse(source), downloads)
    elif (path := Path(source)).is_file():
        yield read_layout(default_name(source), ZipTree(path), {"zip": path.name, "md5": checksum(path, "md5")})
    elif path.is_dir():
        yield _folder(default_name(source), path)
    else:
        raise InputError(
            f"`source={source}`: no such file or folder; give tiny-imagenet, sample, a URL, a zip or a folder of images"
        )


def _folder(name: str, path: Path) -> Listing:
    return read_layout(name, FolderTree(path), {"folder": path.resolve().name})


def _download(name: str, remote: Remote, downloads: Path) -> Listing:
    path = download(remote, downloads)
    origin = {"url": remote.url, "bytes": path.stat().st_size, "md5": checksum(path, "md5")}
    return read_layout(name, ZipTree(path), origin)
