"""Reads paths by what they hold: an archive, a folder, shards, Parquet."""

import contextlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feedline.convert import several, unknown
from feedline.convert.layouts import Labels, Listing, Wanted, classes_file, is_image
from feedline.convert.layouts.choose import read_layout
from feedline.convert.records import cifar, idx, parquet, webdataset
from feedline.convert.records.shards import TAR, common_folder
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Tree
from feedline.convert.trees.compressed import compression, is_tar, unpack
from feedline.convert.trees.folder import FolderTree
from feedline.convert.trees.names import visible_names
from feedline.convert.trees.tar import TarTree
from feedline.convert.trees.zip import ZipTree, is_zip
from feedline.output import counted
from feedline.pipeline.errors import InputError


@dataclass(frozen=True)
class Opening:
    """Lists the images of a path.

    Attributes:
        name: of the dataset.
        origin: where the path came from. The key of a file's name is empty until its kind is known.
        scratch: gets what is unpacked.
        wanted: how labels are to be found.
        source: the path as the user gave it; what errors call it.
    """

    name: str
    origin: dict[str, Any]
    scratch: Scratch
    wanted: Wanted
    source: str

    def file(self, path: Path) -> Listing:
        """Lists a file, by its content.

        Raises:
            InputError: if it is none that can be read.
        """
        if parquet.is_parquet(path):
            return self._is("parquet").files(path.parent, [path])
        if is_zip(path):
            return self._is("zip").tree(ZipTree(path))
        if not is_tar(path):
            raise unknown.refuse_file(path)
        tree = _open_tar(path, self.scratch)
        return self._is("tar").files(path.parent, [path]) if webdataset.matches(tree) else self._is("tar").tree(tree)

    def folder(self, path: Path) -> Listing:
        """Lists a folder: of images, or of files that hold them.

        Raises:
            InputError: if there are none.
        """
        unknown.check_folder(path)
        tree = FolderTree(path)
        files = visible_names(tree.contents.files)[0]
        holders = [file for file in files if file.lower().endswith((*TAR, ".parquet"))]
        others = several.sets_in(files)
        images = [file for file in files if is_image(file)]
        if not holders:
            return self.tree(tree)
        held = self._held(path, holders)
        rivals = several.rivals([*others, *held], files)
        beside = rivals and not others and _beside(holders, rivals)
        several.check_one(self.source, [*others, *held], [] if beside else rivals)
        if others or (images and not held):
            return self.tree(tree)
        return self._images_or(path, tree, holders) if rivals else self._holders(path, tree, holders)

    def _images_or(self, path: Path, tree: Tree, holders: list[str]) -> Listing:
        """Images with classes; where they have none, what the files beside them hold."""
        try:
            return self.tree(tree)
        except InputError:
            return self._holders(path, tree, holders)

    def _holders(self, path: Path, tree: Tree, holders: list[str]) -> Listing:
        listing = self.files(path, [path / file for file in holders])
        around = common_folder([Path(file) for file in holders])
        read = {(around / file).as_posix() for file in listing.read}
        ignored = several.not_taken(tree.contents, holders, read)
        return replace(listing, ignored=sorted([*listing.ignored, *ignored]))

    def _held(self, path: Path, holders: list[str]) -> list[several.Found]:
        """The sets in Parquet files and shards; tars of another kind, and those that are compressed, do not count."""
        by_folder: dict[tuple[str, str], list[str]] = defaultdict(list)
        for file in holders:
            kind = "Parquet" if file.lower().endswith(".parquet") else "shards"
            by_folder[kind, file[: file.rfind("/") + 1]].append(file)
        return [
            several.Found(kind, folder, frozenset(files))
            for (kind, folder), files in by_folder.items()
            if kind == "Parquet" or _is_shard(path / files[0])
        ]

    def files(self, folder: Path, paths: list[Path]) -> Listing:
        """Lists several files of one kind, Parquet or webdataset shards.

        Args:
            folder: around all of them.
            paths: the files.

        Raises:
            InputError: if they cannot be read.
        """
        kinds = [parquet.is_parquet(path) for path in paths]
        if not any(kinds):
            if self.wanted.image_column:
                raise InputError("`image_column`: shards have no columns of images; leave it out")
            label = self.wanted.label_column
            return self._finished(webdataset.read(self.name, paths, self.source, self.scratch, label))
        if not all(kinds):
            odd = paths[kinds.index(False)]
            raise InputError(
                f"{odd}: not Parquet, as other files of the source are; leave it out, or download it again"
            )
        shorts = [str(path.relative_to(folder)) for path in paths]
        columns = self.wanted.image_column, self.wanted.label_column
        return self._finished(parquet.read(self.name, folder, shorts, self.source, columns))

    def tree(self, tree: Tree) -> Listing:
        """Lists what is in a folder or an archive.

        Raises:
            InputError: if its layout is not known.
        """
        files = visible_names(tree.contents.files)[0]
        found = several.sets_in(files)
        several.check_one(self.source, found, several.rivals(found, files))
        for kind in (cifar, idx) if found else ():
            if kind.sets(files):
                self._refuse_columns()
                listing = kind.read(self.name, tree, self.source, self.scratch)
                taken = {file for one in found for file in one.files}
                taken |= {file for file, _ in listing.ignored}
                ignored = sorted([*listing.ignored, *several.not_taken(tree.contents, taken, listing.read)])
                return self._finished(replace(listing, ignored=ignored))
        return replace(read_layout(self.name, tree, self.source, self.wanted), origin=self.origin)

    def _refuse_columns(self) -> None:
        for argument in ("image_column", "label_column"):
            if column := getattr(self.wanted, argument):
                raise InputError(f"`{argument}={column}`: this source has no columns; leave it out")

    def _is(self, kind: str) -> "Opening":
        return replace(self, origin={key or kind: value for key, value in self.origin.items()})

    def _finished(self, listing: Listing) -> Listing:
        finished = self._with_classes(replace(listing, origin=self.origin))
        if len(finished.classes) < 2:
            names = ", ".join(repr(info.words) for info in finished.classes)
            raise InputError(
                f"`source={self.source}`: one class only, {names} ({counted(len(finished.items), 'image')}); "
                "telling apart takes two: add images of another class"
            )
        return finished

    def _with_classes(self, listing: Listing) -> Listing:
        """Applies what the user wants to a source whose labels come with its images."""
        if self.wanted.labels:
            raise InputError(f"`labels={self.wanted.labels}`: this source has its labels itself; leave it out")
        if self.wanted.classes_file is None:
            return listing
        labels = classes_file.apply(
            self.wanted.classes_file, Labels(listing.classes, listing.items, listing.left_out, notes=listing.notes)
        )
        return replace(listing, classes=labels.classes, items=labels.items, notes=labels.notes)


def _beside(holders: list[str], images: list[str]) -> bool:
    """Whether all files that hold images lie in folders with images, or around them."""
    around = {name[: name.rfind("/") + 1] for name in images}
    return all(any(a.startswith(file[: file.rfind("/") + 1]) for a in around) for file in holders)


def _is_shard(path: Path) -> bool:
    if compression(path) is not None or not is_tar(path):
        return False
    with contextlib.suppress(InputError):
        return webdataset.matches(TarTree(path))
    return False


def _open_tar(path: Path, scratch: Scratch) -> TarTree:
    if compression(path) is None:
        return TarTree(path)
    plain = scratch.folder() / "unpacked.tar"
    unpack(path, plain)
    return TarTree(plain, str(path))
