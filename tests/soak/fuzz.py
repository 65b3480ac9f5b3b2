"""Throws damaged and hostile input at everything that reads files: it is taken or refused in one line, nothing else."""

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
from feedline.training.snapshot import Position, Snapshot

NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**400])
TEXTS = st.text(max_size=8) | st.sampled_from(["../..", "/etc/passwd", "\0", "raw", "train"])
LEAVES = st.none() | st.booleans() | NUMBERS | TEXTS
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)
# Where to cut, what to overwrite and with what: positions are shares of the length.
DAMAGE = st.tuples(
    st.none() | st.floats(0, 1),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=6),
    st.binary(max_size=4),
)
Damage = tuple[float | None, list[tuple[float, int]], bytes]


def damaged(data: bytes, damage: Damage) -> bytes:
    cut, bytes_, tail = damage
    changed = bytearray(data if cut is None else data[: int(cut * len(data))])
    for place, value in bytes_:
        if changed:
            changed[min(int(place * len(changed)), len(changed) - 1)] = value
    return bytes(changed) + tail


def replaced(value: Any, path: list[float], new: Any) -> Any:
    """A copy of nested dicts and lists with one place replaced; `path` leads down to it."""
    if not path or not isinstance(value, (dict, list)) or not value:
        return new
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = keys[min(int(path[0] * len(keys)), len(keys) - 1)]
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = replaced(value[key], path[1:], new)
    return changed


class Fuzz:
    """Readers under fire.

    Args:
        dataset: a small one, of which a copy is damaged.
        folder: to work in.
        state: a checkpoint's content.
        examples: inputs a reader.

    Attributes:
        tried, refused: inputs by reader.
    """

    def __init__(self, dataset: Dataset, folder: Path, state: Snapshot, examples: int) -> None:
        self.dataset, self.folder, self.state, self.examples = dataset, folder, state, examples
        self.tried: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def _try(self, name: str, read: Callable[[], Any]) -> None:
        self.tried[name] += 1
        said = ""
        try:
            read()
        except (InputError, DecodeError) as error:
            self.refused[name] += 1
            said = str(error)
        assert "\n" not in said, f"more than a line: {said}"

    def _run(self, test: Callable[..., None], *strategies: Any) -> None:
        checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        config = settings(
            max_examples=self.examples, deadline=None, database=None, suppress_health_check=checks, derandomize=True
        )
        config(given(*strategies)(test))()

    def _use(self, root: Path) -> None:
        """Opens a dataset and touches all that a loader would."""
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
        # A new file each time: a map of the old one may still be open, and shortening that one would end the process.
        path.unlink()
        path.write_bytes(data)
        try:
            self._try(reader, lambda: self._use(self.folder))
        finally:
            path.unlink()
            path.write_bytes(before)

    def description(self) -> None:
        """dataset.json: any value in any place, and damaged bytes."""
        text = (self.folder / "dataset.json").read_bytes()
        meta = json.loads(text)

        def values(path: list[float], new: Any) -> None:
            self._with_file("dataset.json", json.dumps(replaced(meta, path, new)).encode(), "dataset.json, values")

        def bytes_(damage: Damage) -> None:
            self._with_file("dataset.json", damaged(text, damage), "dataset.json, bytes")

        self._run(values, st.lists(st.floats(0, 1), max_size=4), JSON)
        self._run(bytes_, DAMAGE)

    def indexes(self) -> None:
        """Lists of ids, labels, sizes, paths, pack indexes: damaged bytes, and whole arrays of wrong values."""
        names = [f"index/{name}.npy" for name in ("official-train", "labels", "sizes", "plain", "paths")]
        names += ["index/paths.bin", "packs/raw/index.npy", "packs/jpeg/index.npy"]
        before = {name: (self.folder / name).read_bytes() for name in names}

        def bytes_(name: str, damage: Damage) -> None:
            self._with_file(name, damaged(before[name], damage), "indexes, bytes")

        def values(name: str, fill: int, place: float) -> None:
            array = np.load(io.BytesIO(before[name]))
            flat = array.view(np.uint8).reshape(len(array), -1)
            row = flat[min(int(place * len(flat)), len(flat) - 1)]
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
        """Checkpoints: damaged bytes, and any value in any place."""
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
    """torch.save writes integers of any size; those beyond a few hundred digits only cost time."""
    return not isinstance(value, int) or abs(value) < 10**300


def run(dataset: Dataset, folder: Path, state: Snapshot, *, examples: int) -> dict[str, Any]:
    """All readers.

    Args:
        dataset: a small one; `folder` holds a copy of it.
        folder: to work in.
        state: a checkpoint's content.
        examples: inputs a strategy; there are seven.

    Returns:
        The counts.
    """
    begun = time.monotonic()
    fuzz = Fuzz(dataset, folder, state, examples)
    for reader in (fuzz.description, fuzz.indexes, fuzz.checkpoints, fuzz.images):
        reader()
    return {
        "inputs": sum(fuzz.tried.values()),
        "by reader": dict(fuzz.tried),
        "refused in a line": dict(fuzz.refused),
        "seconds": time.monotonic() - begun,
    }


def small_state() -> Snapshot:
    """A checkpoint's content, with a model of one layer."""
    model = torch.nn.Linear(3, 2)
    return Snapshot(
        fingerprint="0" * 64, classes=["a", "b"], image_size=[8, 8], config=Config.build("small", {}),
        model=model.state_dict(), average=None, average_updates=0,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1).state_dict(), schedule={}, scaler={},
        sums=torch.zeros(4, dtype=torch.float64), position=Position(step=3, train_seconds=1.0, lrs=[(0.1, 0.01)]),
        rng=torch.get_rng_state(), rng_cuda=[],
    )  # fmt: skip
