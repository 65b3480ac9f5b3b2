"""Opens a source by what it is: the name of a built-in one, a URL, an archive or a folder."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from feedline.convert.atomic_folder import resolve
from feedline.convert.download import checksum, download
from feedline.convert.given import near_path
from feedline.convert.layouts import Listing, Wanted
from feedline.convert.layouts.choose import GUESS
from feedline.convert.layouts.groups import EMPTY
from feedline.convert.opening import Opening
from feedline.convert.records.shards import common_folder, expand, is_pattern
from feedline.convert.remote import Remote
from feedline.convert.sample import draw_sample
from feedline.convert.scratch import Scratch
from feedline.convert.trees import BrokenFile, Readable, Stamp, stamp_of
from feedline.convert.trees.folder import FolderTree
from feedline.convert.trees.names import visible_names
from feedline.convert.unknown import AGAIN
from feedline.pipeline.errors import InputError

TINY_IMAGENET = Remote(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip", 248_100_043, "md5", "90528d7ca1a48142e341f4ef8d21d0de"
)

_SUFFIX = re.compile(r"\.(zip|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz)|parquet)$", re.IGNORECASE)
_PATTERN = re.compile(r"[-_. ]*[{*?\[].*")  # from where a name is a pattern


def default_name(source: str) -> str:
    """The name of the dataset made from a source: `tiny-imagenet`, `sample`, or that of the file or folder."""
    if source in ("tiny-imagenet", "sample"):
        return source
    if is_pattern(source):
        first = Path(source.split("::")[0])
        return _PATTERN.sub("", first.name) or default_name(str(first.parent))
    name = Remote.parse(source).filename if "://" in source else Path(source).resolve().name
    return _SUFFIX.sub("", name) or name


@contextmanager
def open_source(source: str, downloads: Path, out: Path, wanted: Wanted = GUESS) -> Iterator[Listing]:
    """Lists the images of a source, after downloading, drawing or unpacking it if need be.

    The listing can be used until the block ends.

    Args:
        source: `tiny-imagenet`, `sample`, the URL of an archive or a Parquet file, the path of one or of a folder, or a
            pattern of webdataset shards or Parquet files.
        downloads: folder for downloads, which are kept.
        out: the dataset folder; what is unpacked lies beside it for a while.
        wanted: how labels are to be found.

    Raises:
        InputError: if there is no such source, or it cannot be used.
    """
    name = default_name(source)
    with contextlib.closing(Scratch(out)) as scratch:
        if source == "sample":
            with tempfile.TemporaryDirectory() as folder:
                path = draw_sample(Path(folder) / source)
                yield Opening(name, {"folder": path.name}, scratch, wanted, source).folder(path)
        elif source == "tiny-imagenet" or "://" in source:
            remote = TINY_IMAGENET if source == "tiny-imagenet" else Remote.parse(source)
            path = download(remote, downloads)
            origin = {"url": remote.url, "bytes": path.stat().st_size, "md5": checksum(path, "md5")}
            yield _downloaded(Opening(name, origin, scratch, wanted, source), path, remote)
        elif is_pattern(source):
            paths = expand(source)
            origin = {"pattern": Path(source).name}
            yield Opening(name, origin, scratch, wanted, source).files(common_folder(paths), paths)
        elif (path := Path(source)).is_file():
            origin = {"": path.name, "md5": checksum(path, "md5")}
            yield Opening(name, origin, scratch, wanted, source).file(path)
        elif path.is_dir():
            listing = Opening(name, {"folder": path.resolve().name}, scratch, wanted, source).folder(path)
            yield _without_folders_around(out, path, listing)
        else:
            raise _missing(source)


def _downloaded(opening: Opening, path: Path, remote: Remote) -> Listing:
    """Lists a download. One that is broken is deleted, so that the next run asks again; not if it has its checksum."""
    try:
        return opening.file(path)
    except BrokenFile as error:
        of_disk = getattr(error.__cause__, "errno", None) is not None
        if remote.digest is not None or of_disk or isinstance(error.__cause__, NotImplementedError):
            raise
        path.unlink(missing_ok=True)
        said = error.message.partition(f"; {AGAIN}")[0]
        raise InputError(f"{said}; it was deleted, try again") from error


def _without_folders_around(out: Path, root: Path, listing: Listing) -> Listing:
    """The listing of a folder, in which those made to hold the dataset are no class folders without images."""
    around = {os.path.realpath(folder) for folder in resolve(out).parents}
    left_out = [
        (name, reason)
        for name, reason in listing.left_out
        if reason != EMPTY or os.path.realpath(root / name) not in around
    ]
    return replace(listing, left_out=left_out)


def check_apart(source: str, out: Path) -> None:
    """Checks that the dataset would not replace the source that it is made of.

    Raises:
        InputError: if the source lies in `out`.
    """
    if source in ("tiny-imagenet", "sample") or "://" in source:
        return
    try:
        paths = [Path(source)] if not is_pattern(source) else expand(source)
    except InputError:  # said when the source is opened
        return
    place = resolve(out)
    for path in map(Path, map(os.path.realpath, paths)):
        if path != place and path.is_relative_to(place):
            raise InputError(f"`source={source}`: lies in {out}, which the dataset would replace; choose another `out`")


def path_files(source: str, tree: Readable | None = None) -> dict[str, Stamp]:
    """The files of a source that is a path or a pattern: {name: stamp}.

    Names are relative to a folder: where it stands does not matter, nor does the name of an archive. What is
    hidden is left out.

    Args:
        source: the path.
        tree: of the folder, if it is listed already.

    Raises:
        InputError: if there is nothing.
    """
    path = Path(source)
    if is_pattern(source):
        paths = expand(source)
        folder = common_folder(paths)
        return {str(path.relative_to(folder)): stamp_of(path) for path in paths}
    if path.is_dir():
        listed = tree if isinstance(tree, FolderTree) and tree.root == path else FolderTree(path)
        return {name: listed.stamps[name] for name in visible_names(listed.stamps)[0]}
    if path.is_file():
        return {"": stamp_of(path)}
    raise _missing(source)


def _missing(source: str) -> InputError:
    good = "give tiny-imagenet, sample, a URL, an archive or a folder of images"
    if os.path.lexists(source):
        what = "neither a file nor a folder" if os.path.exists(source) else "a link that leads nowhere"  # noqa: PTH110
        return InputError(f"`source={source}`: {what}; {good}")
    near = near_path(source, ("tiny-imagenet", "sample"))
    return InputError(f"`source={source}`: no such file or folder{near or f'; {good}'}")
