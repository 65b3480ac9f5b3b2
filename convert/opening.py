"""Reads paths by what they hold: an archive, a folder, shards, Parquet."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from feedline.convert import unknown
from feedline.convert.layouts import Labels, Listing, Wanted, classes_file, is_image
from feedline.convert.layouts.choose import read_layout
from feedline.convert.records import cifar, idx, parquet, webdataset
from feedline.convert.records.shards import TAR
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Tree
from feedline.convert.trees.compressed import compression, is_tar, unpack
from feedline.convert.trees.folder import FolderTree, is_litter
from feedline.convert.trees.tar import TarTree
from feedline.convert.trees.zip import ZipTree, is_zip
from feedline.pipeline.errors import InputError


@dataclass(frozen=True)
class Opening:
    """Lists the images of a path.

    Attributes:
        name: of the dataset.
        origin: where the path came from; the first value names it in errors. The key of a file's name is empty until
            its kind is known.
        scratch: gets what is unpacked.
        wanted: how labels are to be found.
    """

    name: str
    origin: dict[str, Any]
    scratch: Scratch
    wanted: Wanted

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
        files = [file for file in tree.contents.files if not is_litter(file)]
        holders = [path / file for file in files if file.lower().endswith((*TAR, ".parquet"))]
        if holders and not any(map(is_image, files)) and not cifar.matches(files) and not idx.matches(files):
            return self.files(path, holders)
        return self.tree(tree)

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
            return self._with_classes(webdataset.read(self.name, paths, self.origin, self.scratch))
        if not all(kinds):
            odd = paths[kinds.index(False)]
            raise InputError(
                f"{odd}: not Parquet, as other files of the source are; leave it out, or download it again"
            )
        shorts = [str(path.absolute().relative_to(folder.absolute())) for path in paths]
        columns = self.wanted.image_column, self.wanted.label_column
        return self._with_classes(parquet.read(self.name, folder, shorts, self.origin, columns))

    def tree(self, tree: Tree) -> Listing:
        """Lists what is in a folder or an archive.

        Raises:
            InputError: if its layout is not known.
        """
        files = tree.contents.files
        for kind in (cifar, idx):
            if kind.matches(files):
                return self._with_classes(kind.read(self.name, tree, self.origin, self.scratch))
        return read_layout(self.name, tree, self.origin, self.wanted)

    def _is(self, kind: str) -> "Opening":
        return replace(self, origin={key or kind: value for key, value in self.origin.items()})

    def _with_classes(self, listing: Listing) -> Listing:
        """Applies what the user wants to a source whose labels come with its images."""
        if self.wanted.labels:
            raise InputError(f"`labels={self.wanted.labels}`: this source has its labels itself; leave it out")
        if self.wanted.classes_file is None:
            return listing
        labels = classes_file.apply(self.wanted.classes_file, Labels(listing.classes, listing.items, listing.left_out))
        return replace(listing, classes=labels.classes, items=labels.items, left_out=labels.left_out)


def _open_tar(path: Path, scratch: Scratch) -> TarTree:
    if compression(path) is None:
        return TarTree(path)
    plain = scratch.folder() / "unpacked.tar"
    unpack(path, plain)
    return TarTree(plain, str(path))
