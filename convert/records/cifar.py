"""CIFAR-10 and CIFAR-100, the python version: as an archive, unpacked, or in torchvision's folder."""

import codecs
import io
import pickle
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.convert.layouts import Listing
from feedline.convert.records import Record, number
from feedline.convert.scratch import Scratch
from feedline.convert.trees import Tree
from feedline.convert.trees.names import visible_names
from feedline.convert.trees.pixels import PixelTree
from feedline.pipeline.dataset import PartName
from feedline.pipeline.errors import InputError, first_line

SIDE = 32  # pixels

_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

# What a batch of CIFAR consists of. Anything else in a pickle could run code.
_ALLOWED = {
    "_reconstruct": np.zeros(1).__reduce__()[0],
    "ndarray": np.ndarray,
    "dtype": np.dtype,
    "encode": codecs.encode,
}


def sets(files: Collection[str]) -> dict[str, set[str]]:
    """{folder with a slash at the end, or empty: its files} of every CIFAR among files."""
    return {
        folder: {f for f in files if f.startswith(folder) and _part(f.removeprefix(folder))} | {folder + description}
        for folder, (description, _) in _folders(files).items()
    }


def read(name: str, tree: Tree, source: str, scratch: Scratch) -> Listing:
    """Lists the images.

    Args:
        name: of the dataset.
        tree: holds the batches.
        source: what errors call it.
        scratch: gets the pixels.

    Raises:
        InputError: if a batch is damaged, or there are both CIFAR-10 and CIFAR-100.
    """
    files = dict.fromkeys(visible_names(tree.contents.files)[0])  # in their order
    folders = _folders(files)
    if len(folders) > 1:
        raise InputError(f"`source={source}`: holds {' and '.join(folders)}; give one of them")
    folder, (description, label) = folders.popitem()
    names = _class_names(tree, folder + description, f"{label}_names")
    pixels = PixelTree(scratch.folder())
    batches = sorted(f for f in files if f.startswith(folder) and _part(f.removeprefix(folder)))
    records = [record for batch in batches for record in _records(tree, folder, batch, label, pixels)]
    classes, items, left_out = number(records, names)
    notes = _notes_on_missing(folder, files) if label == "label" else []
    return Listing(name, pixels, classes, items, left_out, notes=notes)


def _class_names(tree: Tree, file: str, key: str) -> list[str]:
    names = _unpickle(tree, file).get(key)
    texts = [_text(name) for name in names] if isinstance(names, list) else []
    if len(texts) < 2 or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{file}: has no list {key!r} of the classes' names; download it again")
    return texts


def _notes_on_missing(folder: str, files: Collection[str]) -> list[str]:
    missing = [name for name in (*_BATCHES, "test_batch") if folder + name not in files]
    return [f"CIFAR-10 without {', '.join(missing)}: their images are missing"] if missing else []


def _folders(files: Collection[str]) -> dict[str, tuple[str, str]]:
    """{folder with a slash at the end: (the file of class names, what it calls the label)}"""
    folders = {}
    for file in files:
        folder = file[: file.rfind("/") + 1]
        if file == f"{folder}batches.meta" and any(folder + batch in files for batch in _BATCHES):
            folders[folder] = "batches.meta", "label"
        elif file == f"{folder}meta" and f"{folder}train" in files and f"{folder}test" in files:
            folders[folder] = "meta", "fine_label"
    return folders


def _part(file: str) -> PartName | None:
    if file in _BATCHES or file == "train":
        return "train"
    return "test" if file in ("test_batch", "test") else None


def _records(tree: Tree, folder: str, file: str, label: str, pixels: PixelTree) -> Iterator[Record]:
    batch, short = _unpickle(tree, file), file.removeprefix(folder)
    data, labels, part = batch.get("data"), batch.get(f"{label}s"), _part(short)
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(labels, list) or not all(isinstance(n, (int, np.integer)) for n in labels):
        raise InputError(f"{file}: has no list '{label}s' of whole numbers; download the python version again")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape != (len(labels), 3 * SIDE * SIDE):
        raise InputError(f"{file}: not a batch of CIFAR; download the python version again")
    pixels.add(short, _images(data))
    assert part is not None
    for index, target in enumerate(labels):
        yield Record(f"{short}[{index}]", part, int(target), ".png", data.shape[1], estimated=True, made=True)


def _images(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels [images, height, width, 3] of a batch's rows, which hold the red, the green and the blue plane."""
    return np.ascontiguousarray(data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))


class _Unpickler(pickle.Unpickler):
    """Reads what CIFAR's files hold, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in _ALLOWED or module.split(".")[0] not in ("numpy", "_codecs"):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[name]


def _unpickle(tree: Tree, file: str) -> dict[str, Any]:
    try:
        content = _Unpickler(io.BytesIO(tree.read(file)), encoding="latin1").load()
    except Exception as error:  # pickle raises anything for damaged bytes
        raise InputError(
            f"{file}: not a file of CIFAR's python version ({first_line(error)}); download it again"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{file}: not a file of CIFAR's python version; download it again")
    return {_text(key): value for key, value in content.items()}


def _text(value: Any) -> Any:
    """A text, also where Python 3 pickled it as bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
