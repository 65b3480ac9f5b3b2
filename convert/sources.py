"""Sources: where images come from, and what they are called there.

A tree (a folder or a zip) gives names and bytes; a layout reads the names and says which image belongs to which part
and class. Every layout works on every tree.
"""

import lzma
import os
import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from feedline.convert.download import Remote, checksum, download
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.errors import InputError

TINY_IMAGENET = Remote(
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip", 248_100_043, "md5", "90528d7ca1a48142e341f4ef8d21d0de"
)
# What torchvision's ImageFolder takes for an image.
SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Contents:
    """What a tree holds; names are relative, with forward slashes.

    Attributes:
        files: bytes of every file, by name, sorted.
        folders: names of folders, sorted, without a slash at the end.
        left_out: what is not in `files`, with the reason.
    """

    files: dict[str, int]
    folders: list[str]
    left_out: list[tuple[str, str]] = field(default_factory=list)


class Tree(Protocol):
    """Names and bytes. Can be sent to another process."""

    @property
    def contents(self) -> Contents: ...

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            Damaged: if they cannot be had and the rest of the tree can.
            OSError: if the file cannot be read.
            InputError: if the tree is not what it was.
        """


class Damaged(ValueError):
    """One file of a tree is not whole."""


@dataclass
class FolderTree:
    """The files below a folder; links are followed."""

    root: Path

    @cached_property
    def contents(self) -> Contents:
        files: dict[str, int] = {}
        folders: list[str] = []
        for folder, below, names in os.walk(self.root, onerror=self._unreadable, followlinks=True):
            short = os.path.relpath(folder, self.root).replace(os.sep, "/")
            prefix = "" if short == "." else f"{short}/"
            below[:] = [name for name in below if not self._leads_back(folder, name)]
            folders += [prefix + name for name in below]
            for name in names:
                try:
                    found = os.stat(f"{folder}/{name}")  # noqa: PTH116
                except FileNotFoundError:  # a link to nothing
                    continue
                if stat.S_ISREG(found.st_mode):
                    files[prefix + name] = found.st_size
        return Contents(dict(sorted(files.items())), sorted(folders))

    @staticmethod
    def _leads_back(folder: str, name: str) -> bool:
        """Whether a folder is a link to one that it lies in."""
        path = os.path.join(folder, name)  # noqa: PTH118
        here = os.path.realpath(folder)
        return os.path.islink(path) and (here + os.sep).startswith(os.path.realpath(path) + os.sep)  # noqa: PTH114

    @staticmethod
    def _unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename}: {error.strerror}; make it readable, or move it out of the source")

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}


@lru_cache(maxsize=2)
def _open_zip(path: Path, changed: int, process: int) -> zipfile.ZipFile:
    """One a process: opening reads the whole directory, a second for 110,000 names; a forked file shares its place."""
    del changed, process  # of the key only
    try:
        return zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises whatever the bytes lead to
        raise InputError(f"{path}: not a zip that can be read ({error}); download it again") from error


@dataclass
class ZipTree:
    """The files in a zip. Nothing is ever written under the names that it holds before they are looked at."""

    path: Path

    MAX_RATIO = 200  # of unpacked to packed bytes, beyond FREE; images hardly pack at all
    FREE = 1 << 30

    def __post_init__(self) -> None:
        self._stamp = self._now()

    def _now(self) -> tuple[int, int]:
        try:
            found = self.path.stat()
        except OSError as error:
            raise InputError(f"{self.path}: {error.strerror}; give a zip that can be read") from error
        return found.st_size, found.st_mtime_ns

    @property
    def _zip(self) -> zipfile.ZipFile:
        if (now := self._now()) != self._stamp:
            raise InputError(f"{self.path}: was changed while it was read; convert it when it is complete")
        return _open_zip(self.path, now[1], os.getpid())

    @cached_property
    def contents(self) -> Contents:
        files: dict[str, int] = {}
        folders: list[str] = []
        left_out: list[tuple[str, str]] = []
        for entry in self._zip.infolist():
            name = entry.filename
            parts = name.replace("\\", "/").split("/")
            if name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
                raise InputError(f"{self.path}: holds the unsafe name {name!r}; this zip is not to be trusted")
            if name in files:
                raise InputError(f"{self.path}: holds {name!r} twice; this zip is not to be trusted")
            if name.endswith("/"):
                folders.append(name.rstrip("/"))
            elif stat.S_ISLNK(entry.external_attr >> 16):
                left_out.append((name, "a link"))
            elif entry.flag_bits & 1:
                left_out.append((name, "encrypted"))
            else:
                files[name] = entry.file_size
        total, packed = sum(files.values()), self._stamp[0]
        if total > max(self.FREE, self.MAX_RATIO * packed):
            raise InputError(
                f"{self.path}: would unpack from {packed / 2**20:,.1f} MiB to {total / 2**30:,.1f} GiB; that is no set "
                "of images but a bomb, this zip is not to be trusted"
            )
        return Contents(dict(sorted(files.items())), sorted(folders), left_out)

    def read(self, name: str) -> bytes:
        archive = self._zip
        try:
            return archive.read(name)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError) as error:
            raise Damaged(f"damaged in the zip ({error})") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_stamp": self._stamp}


@dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        name: its name in the tree.
        path: its path in the dataset folder, `<part>/<class>/<file>`.
        part: `train` or `val`, as the source has it.
        label: index into the listing's classes.
        size: bytes, as the tree lists it.
    """

    name: str
    path: str
    part: str
    label: int
    size: int


@dataclass(frozen=True)
class Listing:
    """What a source holds.

    Attributes:
        name: of the dataset.
        tree: gives the bytes.
        origin: where it came from, with checksum if there is one.
        classes: in label order (sorted by folder).
        items: sorted by path; train before val.
        left_out: names that look like images but have no place, with the reason.
    """

    name: str
    tree: Tree
    origin: dict[str, Any]
    classes: list[ClassInfo]
    items: list[Item]
    left_out: list[tuple[str, str]] = field(default_factory=list)


def default_name(source: str) -> str:
    """The dataset's name for a source as given on the command line."""
    if source in ("tiny-imagenet", "sample"):
        return source
    if "://" in source:
        return Path(Remote.parse(source).filename).stem
    path = Path(source).resolve()
    return path.stem if path.suffix == ".zip" else path.name


def open_source(source: str, downloads: Path) -> Listing:
    """Lists a source, after downloading it if it is one that has to be.

    Args:
        source: `tiny-imagenet`, a URL of a zip, a zip, or a folder.
        downloads: folder for downloads.

    Raises:
        InputError: if there is nothing, or nothing that can be used.
    """
    name = default_name(source)
    if source == "tiny-imagenet" or "://" in source:
        remote = TINY_IMAGENET if source == "tiny-imagenet" else Remote.parse(source)
        path = download(remote, downloads)
        origin = {"url": remote.url, "bytes": path.stat().st_size, "md5": checksum(path, "md5")}
        return read_layout(name, ZipTree(path), origin)
    path = Path(source)
    if path.is_file():
        return read_layout(name, ZipTree(path), {"zip": path.name, "md5": checksum(path, "md5")})
    if path.is_dir():
        return read_layout(name, FolderTree(path), {"folder": path.resolve().name})
    raise InputError(
        f"--source {source}: no such file or folder; give tiny-imagenet, sample, a URL, a zip or a folder of images"
    )


def read_layout(name: str, tree: Tree, origin: dict[str, Any]) -> Listing:
    """Finds out how a tree is laid out and lists it.

    Raises:
        InputError: if it is laid out in no known way.
    """
    names = list(tree.contents.files)
    top = _common_folder(names)
    inside = {n[len(top) :]: n for n in names}
    tops = {n.split("/", 1)[0] for n in inside if "/" in n}
    where = next(iter(origin.values()))
    if "wnids.txt" in inside and "train" in tops:
        return _tiny_imagenet(name, tree, origin, inside)
    parts = {part: {n: inside[n] for n in inside if n.startswith(f"{part}/")} for part in ("train", "val")}
    folders = {n[len(top) :]: n for n in tree.contents.folders if n.startswith(top)}
    if "train" in tops and (any(n.count("/") > 1 for n in parts["train"])):
        return _image_folders(name, tree, origin, parts, folders, where)
    parts = {"train": {f"train/{n}": o for n, o in inside.items()}}
    return _image_folders(name, tree, origin, parts, {f"train/{n}": o for n, o in folders.items()}, where)


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not PurePosixPath(name).name.startswith(".")


def _common_folder(names: list[str]) -> str:
    """The folders that everything lies in, e.g. `tiny-imagenet-200/`. What macOS adds to a zip does not count."""
    names = [n for n in names if not n.startswith("__MACOSX/")]
    top = ""
    while names:
        heads = {n[len(top) :].split("/", 1)[0] for n in names}
        if len(heads) > 1 or any("/" not in n[len(top) :] for n in names):
            break
        head = heads.pop()
        if head in ("train", "val"):
            break
        deeper = f"{top}{head}/"
        if all("/" not in n[len(deeper) :] for n in names):  # a single class, not a wrapping folder
            break
        top = deeper
    return top


def _tiny_imagenet(name: str, tree: Tree, origin: dict[str, Any], inside: Mapping[str, str]) -> Listing:
    """The layout of the official download: nested train images, flat val images with val_annotations.txt."""

    def lines(wanted: str) -> list[str]:
        return tree.read(inside[wanted]).decode("utf-8", "replace").splitlines() if wanted in inside else []

    words = dict(line.split("\t", 1) for line in lines("words.txt") if "\t" in line)
    folders = sorted({line.strip() for line in lines("wnids.txt") if line.strip()})
    labels = {folder: label for label, folder in enumerate(folders)}
    classes = [ClassInfo(label, folder, words.get(folder, folder)) for folder, label in labels.items()]
    items: list[Item] = []
    left_out: list[tuple[str, str]] = []
    for short, full in inside.items():
        pieces = short.split("/")
        if pieces[0] != "train" or not _is_image(short):
            continue
        if len(pieces) == 4 and pieces[2] == "images" and pieces[1] in labels:
            path = f"train/{pieces[1]}/{pieces[3]}"
            items.append(Item(full, path, "train", labels[pieces[1]], tree.contents.files[full]))
        else:
            left_out.append((full, "not in train/<class>/images/ of a class in wnids.txt"))
    seen = {item.label for item in items}
    if missing := [folder for folder, label in labels.items() if label not in seen]:
        raise InputError(f"wnids.txt lists {missing[0]}, but train/{missing[0]}/images/ holds no image")
    annotated: dict[str, str] = {}
    for line in lines("val/val_annotations.txt"):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in labels:
            raise InputError(f"val/val_annotations.txt: no class of train in the line {line!r}")
        annotated[fields[0]] = fields[1]
    for short, full in inside.items():
        if not short.startswith("val/images/") or not _is_image(short):
            continue
        file = short.removeprefix("val/images/")
        if file in annotated:
            folder = annotated.pop(file)
            items.append(Item(full, f"val/{folder}/{file}", "val", labels[folder], tree.contents.files[full]))
        else:
            left_out.append((full, "not in val_annotations.txt"))
    left_out += [(f"val/images/{file}", "in val_annotations.txt, but there is no such file") for file in annotated]
    return _listing(name, tree, origin, classes, items, left_out)


def _image_folders(
    name: str,
    tree: Tree,
    origin: dict[str, Any],
    parts: Mapping[str, Mapping[str, str]],
    subfolders: Mapping[str, str],
    where: object,
) -> Listing:
    """ImageFolder's layout: `<part>/<class>/...`, at any depth below the class."""
    found: dict[str, dict[str, list[tuple[str, str]]]] = {part: defaultdict(list) for part in parts}
    left_out: list[tuple[str, str]] = []
    for part, names in parts.items():
        for short, full in names.items():
            pieces = short.split("/", 2)
            if not _is_image(short) or pieces[1] == "__MACOSX":
                continue
            if len(pieces) < 3:
                left_out.append((full, "not in a class folder"))
            else:
                found[part][pieces[1]].append((short, full))
    for short, full in subfolders.items():
        part, _, folder = short.partition("/")
        if part in found and folder and "/" not in folder and folder not in found[part] and folder != "__MACOSX":
            left_out.append((f"{full}/", "a class folder without images"))
    folders = sorted(found["train"])
    if len(folders) < 2:
        raise InputError(
            f"--source {where}: no images found in at least two class folders; expected class/x.jpg, "
            "or train/class/x.jpg and val/class/x.jpg"
        )
    if strange := sorted(set(found.get("val", {})) - set(folders)):
        raise InputError(f"--source {where}: val holds the class {strange[0]!r} that train lacks")
    classes = [ClassInfo(label, folder, folder) for label, folder in enumerate(folders)]
    items = [
        Item(full, short, part, label, tree.contents.files[full])
        for part in found
        for label, folder in enumerate(folders)
        for short, full in found[part].get(folder, [])
    ]
    return _listing(name, tree, origin, classes, items, left_out)


def _listing(
    name: str,
    tree: Tree,
    origin: dict[str, Any],
    classes: list[ClassInfo],
    items: Iterable[Item],
    left_out: list[tuple[str, str]],
) -> Listing:
    key: Callable[[Item], tuple[bool, str]] = lambda item: (item.part == "val", item.path)  # noqa: E731
    ordered = sorted(items, key=key)
    for item in ordered:
        if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in item.path):
            raise InputError(
                f"{item.path!r}: a file list can hold neither control characters nor names that are not UTF-8; rename "
                "it in the source"
            )
    paths = {item.path for item in ordered}
    if len(paths) < len(ordered):
        raise InputError("two images of the source would get one path in the dataset; rename one of them")
    return Listing(name, tree, origin, classes, ordered, sorted([*left_out, *tree.contents.left_out]))
