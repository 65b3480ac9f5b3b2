"""Damaged and hostile input for everything that reads files: it must be accepted, or refused with a one-line error."""

import io
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedline import Dataset, InputError
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.readahead import runs
from feedline.training import checkpoint
from feedline.training.config import Config
from feedline.training.snapshot import RunPosition, Snapshot

NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400])
TEXTS = st.text(max_size=8) | st.sampled_from(["../..", "/etc/passwd", "\0", "raw", "train"])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)
# Where to cut, (position, new byte) pairs, and bytes to append. Positions are fractions of the length.
DAMAGE = st.tuples(
    st.none() | st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.binary(max_size=4),
)
Damage = tuple[float | None, list[tuple[float, int]], bytes]


def damaged(data: bytes, damage: Damage) -> bytes:
    cut, bytes_, tail = damage
    changed = bytearray(data if cut is None else data[: int(cut * len(data))])
    for position, value in bytes_:
        if changed:
            changed[min(int(position * len(changed)), len(changed) - 1)] = value
    return bytes(changed) + tail


def replaced(value: Any, path: list[float], new: Any) -> Any:
    """A copy of nested dicts and lists with one value replaced. `path` leads to the value."""
    if not path or not isinstance(value, (dict, list)) or not value:
        return new
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[min(int(path[0] * len(keys)), len(keys) - 1)]
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = replaced(value[key], path[1:], new)
    return changed


class Fuzz:
    """Tests readers with damaged files.

    Args:
        dataset: a small dataset.
        folder: a copy of it, to be damaged.
        state: the content of a checkpoint.
        examples: inputs per strategy.

    Attributes:
        tried, refused: number of inputs by reader.
    """

    def __init__(self, dataset: Dataset, folder: Path, state: Snapshot, examples: int) -> None:
        self.dataset, self.folder, self.state, self.examples = dataset, folder, state, examples
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def _try(self, name: str, read: Callable[[], Any]) -> None:
        self.tried[name] += 1
        message = ""
        try:
            read()
        except (InputError, DecodeError) as error:
            self.refused[name] += 1
            message = str(error)
        assert "\n" not in message, f"more than one line: {message}"

    def _run(self, test: Callable[..., None], *strategies: Any) -> None:
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        config = settings(
            max_examples=self.examples, deadline=None, database=None, suppress_health_check=checks, derandomize=True
        )
        config(given(*strategies)(test))()

    def _use(self, root: Path) -> None:
        """Opens a dataset and reads everything that a loader reads."""
        dataset = Dataset(root)
        ids = dataset.ids("official", "train")[:4]
        _ = dataset.labels[ids], dataset.sizes[ids], dataset.plain[ids]
        for image in ids.tolist():
            dataset.path(image)
        for kind in ("jpeg", "raw"):
            pack = dataset.pack(kind)
            pack.sizes(ids)
            pack.encoded(ids)
            pack.will_need(*runs(ids, single=True))
            if kind == "raw":
                pack.pixels(ids)
                if pack.size is not None and pack.size[0] * pack.size[1] < 10**5:
                    pack.gather(ids, np.empty((len(ids), *pack.size, 3), dtype=np.uint8))

    def _with_file(self, name: str, data: bytes, reader: str) -> None:
        path = self.folder / name
        before = path.read_bytes()
        # A new file each time: the old one may still be mapped, and shortening it would crash the process.
        path.unlink()
        path.write_bytes(data)
        try:
            self._try(reader, lambda: self._use(self.folder))
        finally:
            path.unlink()
            path.write_bytes(before)

    def description(self) -> None:
        """dataset.json with damaged bytes, or any value replaced."""
        text = (self.folder / "dataset.json").read_bytes()
        meta = json.loads(text)

        def values(path: list[float], new: Any) -> None:
            self._with_file("dataset.json", json.dumps(replaced(meta, path, new)).encode(), "dataset.json, values")

        def bytes_(damage: Damage) -> None:
            self._with_file("dataset.json", damaged(text, damage), "dataset.json, bytes")

        self._run(values, st.lists(st.floats(0, 1), max_size=4), JSON)
        self._run(bytes_, DAMAGE)

    def indexes(self) -> None:
        """Ids, labels, sizes, paths and pack indexes with damaged bytes, or with wrong values in an array."""
        names = [f"index/{name}.npy" for name in ("official-train", "labels", "sizes", "plain", "paths")]
        names += ["index/paths.bin", "packs/raw/index.npy", "packs/jpeg/index.npy"]
        before = {name: (self.folder / name).read_bytes() for name in names}

        def bytes_(name: str, damage: Damage) -> None:
            self._with_file(name, damaged(before[name], damage), "indexes, bytes")

        def values(name: str, fill: int, position: float) -> None:
            array = np.load(io.BytesIO(before[name]))
            flat = array.view(np.uint8).reshape(len(array), -1)
            row = flat[min(int(position * len(flat)), len(flat) - 1)]
            row[:] = np.resize(np.frombuffer(fill.to_bytes(16, "little", signed=True), dtype=np.uint8), len(row))
            file = io.BytesIO()
            np.save(file, array)
            self._with_file(name, file.getvalue(), "indexes, values")

        self._run(bytes_, st.sampled_from(names), DAMAGE)
        arrays = [name for name in names if name.endswith(".npy")]
        self._run(
            values,
            st.sampled_from(arrays),
            st.integers(-(2**127), 2**127 - 1) | st.integers(-3, 300),
            st.floats(0, 0.1),
        )

    def checkpoints(self) -> None:
        """Checkpoints with damaged bytes, or any value replaced."""
        path = self.folder / "fuzzed.pt"
        checkpoint.save(path, self.state)
        data = path.read_bytes()

        def read() -> Snapshot:
            return checkpoint.load(path)

        def bytes_(damage: Damage) -> None:
            path.write_bytes(damaged(data, damage))
            self._try("checkpoints, bytes", read)

        def values(where: list[float], new: Any) -> None:
            torch.save(replaced(self.state.to_dict(), where, new), path)
            self._try("checkpoints, values", read)

        self._run(bytes_, DAMAGE)
        self._run(values, st.lists(st.floats(0, 1), min_size=1, max_size=3), JSON.filter(_fits))

    def images(self) -> None:
        """Image files of several formats, damaged."""
        paths = [self.dataset.root / self.dataset.path(i) for i in (0, 1)]
        files = [path.read_bytes() for path in paths]
        from PIL import Image

        for kind in ("PNG", "WEBP", "TIFF", "BMP", "GIF"):
            file = io.BytesIO()
            Image.open(paths[0]).resize((24, 20)).save(file, kind)
            files.append(file.getvalue())

        def bytes_(data: bytes, damage: Damage) -> None:
            self._try("images, bytes", lambda: decode(damaged(data, damage)))

        self._run(bytes_, st.sampled_from(files), DAMAGE)


def _fits(value: Any) -> bool:
    """Whether an integer has fewer than 300 digits: torch.save accepts larger ones too, but they only take time."""
    return not isinstance(value, int) or abs(value) < 10**300


def run(dataset: Dataset, folder: Path, state: Snapshot, *, examples: int) -> dict[str, Any]:
    """Tests all readers.

    Args:
        dataset: a small dataset.
        folder: a copy of it, to be damaged.
        state: the content of a checkpoint.
        examples: inputs per strategy; there are seven strategies.

    Returns:
        The counts.
    """
    started = time.monotonic()
    fuzz = Fuzz(dataset, folder, state, examples)
    for reader in (fuzz.description, fuzz.indexes, fuzz.checkpoints, fuzz.images):
        reader()
    return {
        "inputs": sum(fuzz.tried.values()),
        "by reader": dict(fuzz.tried),
        "refused in a line": dict(fuzz.refused),
        "seconds": time.monotonic() - started,
    }


def small_state() -> Snapshot:
    """The content of a checkpoint, with a model of one layer."""
    model = torch.nn.Linear(3, 2)
    return Snapshot(
        fingerprint="0" * 64, classes=["a", "b"], image_size=[8, 8], config=Config.build("small", {}),
        model=model.state_dict(), average=None, average_updates=0,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1).state_dict(), schedule={}, scaler={},
        sums=torch.zeros(4, dtype=torch.float64), position=RunPosition(step=3, train_seconds=1.0, lrs=[(0.1, 0.01)]),
        rng=torch.get_rng_state(), rng_cuda=[],
    )  # fmt: skip
