"""MNIST and what comes in its format, as torchvision's `MNIST/raw` has it: idx files, compressed or not."""

import gzip
import io
import re
import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from feedline.convert.layouts import Listing
from feedline.convert.records import Record, number
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Damaged, Tree
from feedline.convert.trees.names import visible_names
from feedline.convert.trees.pixels import PixelTree
from feedline.output import counted
from feedline.pipeline.dataset import PartName
from feedline.pipeline.errors import InputError

MAX_BYTES = 8 << 30  # of one file

_FILE = re.compile(r"(?P<set>.*?)(?P<part>train|t10k|test)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")
_PARTS: dict[str, PartName] = {"train": "train", "t10k": "test", "test": "test"}
# The files do not name the classes. As torchvision.datasets.FashionMNIST does:
_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def sets(files: Collection[str]) -> dict[str, set[str]]:
    """{folder with a slash at the end, or empty: its files} of every MNIST, or set in its format, among files."""
    found: dict[str, set[str]] = defaultdict(set)
    for parts in _sets(files).values():
        if "train" in parts:
            own = {file for both in parts.values() for file in both.values()}
            first = min(own)
            found[first[: first.rfind("/") + 1]] |= own | {f"{file}.gz" for file in own if f"{file}.gz" in files}
    return dict(found)


def read(name: str, tree: Tree, source: str, scratch: Scratch) -> Listing:
    """Lists the images. See `cifar.read`."""
    visible = visible_names(tree.contents.files)[0]
    found_sets = _sets(visible)
    if len(found_sets) > 1:
        found = ", ".join(sorted(p.removeprefix("./").strip("-/") or "one without a name" for p in found_sets))
        raise InputError(f"`source={source}`: holds several sets of images ({found}); give a folder with one of them")
    prefix, parts = found_sets.popitem()
    address = source if "://" in source else ""  # a path may have any folders above the source
    names = _FASHION if "fashion" in f"{name}/{address}/{prefix}".lower() else None
    pixels = PixelTree(scratch.folder())
    records = [record for part, files in parts.items() for record in _records(tree, part, files, pixels)]
    classes, items, left_out = number(records, names)
    ignored = _without_labels(tree, visible, {file for both in parts.values() for file in both.values()}, prefix)
    notes = [f"{file}: {reason}" for file, reason in ignored]
    return Listing(name, pixels, classes, items, left_out, ignored, notes)


def _without_labels(tree: Tree, visible: Collection[str], taken: Collection[str], prefix: str) -> list[tuple[str, str]]:
    """(file, reason) of the set's files of images that have no labels beside them."""
    files = {}
    for file in sorted(set(visible) - set(taken), reverse=True):
        match = _FILE.fullmatch(PurePosixPath(file).name)
        same = match and f"{PurePosixPath(file).parent}/{match['set']}" == prefix
        if match and same and match["kind"] == "images" and file.removesuffix(".gz") not in taken:
            files[file.removesuffix(".gz")] = file
    return [
        (file, f"{counted(len(_read_idx(tree, file, 3)), 'image')} without labels beside them")
        for file in files.values()
    ]


def _sets(files: Collection[str]) -> dict[str, dict[PartName, dict[str, str]]]:
    """{folder and what the files' names begin with: {part: {`images` or `labels`: file}}}, parts with both only."""
    found: dict[str, dict[PartName, dict[str, str]]] = defaultdict(lambda: defaultdict(dict))
    for file in sorted(files, reverse=True):  # one that is unpacked replaces the same with .gz
        if match := _FILE.fullmatch(file[file.rfind("/") + 1 :]):
            prefix = f"{PurePosixPath(file).parent}/{match['set']}"
            found[prefix][_PARTS[match["part"]]][match["kind"]] = file
    whole = {prefix: {part: both for part, both in parts.items() if len(both) == 2} for prefix, parts in found.items()}
    return {prefix: parts for prefix, parts in whole.items() if parts}


def _records(tree: Tree, part: PartName, files: dict[str, str], pixels: PixelTree) -> Iterator[Record]:
    images, labels = _read_idx(tree, files["images"], 3), _read_idx(tree, files["labels"], 1)
    if len(images) != len(labels):
        raise InputError(
            f"{files['images']}: {counted(len(images), 'image')}, but {counted(len(labels), 'label')} in "
            f"{files['labels']}; download both again"
        )
    if not images.size:
        raise InputError(f"{files['images']}: holds no pixels (its shape is {images.shape}); download it again")
    pixels.add(part, images)
    for index, target in enumerate(labels.tolist()):
        yield Record(f"{part}[{index}]", part, target, ".png", images[0].nbytes, estimated=True, made=True)


def _read_idx(tree: Tree, file: str, dimensions: int) -> NDArray[np.uint8]:
    """An array of unsigned bytes: its type (8), the number of dimensions, the sizes as 4 bytes each, the bytes."""
    data = _uncompressed(tree, file)
    header = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(data[start : start + 4], "big") for start in range(4, header, 4))
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) != header + int(np.prod(shape, dtype=object)):
        raise InputError(f"{file}: not a whole file of MNIST's format; download it again")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _uncompressed(tree: Tree, file: str) -> bytes:
    try:
        data = tree.read(file)
        return gzip.GzipFile(fileobj=io.BytesIO(data)).read(MAX_BYTES) if data[:2] == b"\x1f\x8b" else data
    except (Damaged, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{file}: damaged ({error}); download it again") from error
