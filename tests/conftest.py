"""Datasets for the tests, made once per session."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Networks this small are faster on one thread, here and in the processes that tests start. With two threads on a busy
# machine, each spins while it waits for the other, which can take minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset
from feedline.convert import build
from feedline.convert.sample import draw_sample


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):  # the keywords have the names of folders too
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU"))


def convert(source: Path | str, out: Path, *flags: str) -> Dataset:
    """Builds a dataset with the command, and opens it."""
    assert build.main(["--source", str(source), "--out", str(out), "--workers", "1", *flags]) == 0
    return Dataset(out)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_as_in_a_terminal() -> Iterator[None]:
    """A shell ignores SIGINT for what it starts in the background, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def tiny_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, small: 4 classes of 24 train and 8 val images of 64x64, in Tiny ImageNet's layout."""
    return draw_sample(tmp_path_factory.mktemp("source") / "tiny", train=24, val=8, classes=4)


@pytest.fixture(scope="session")
def dataset(tiny_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The small sample, converted, with both packs."""
    return convert(tiny_source, tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ImageFolder of images of all sizes: JPEG (4:4:4 and 4:2:0) and PNG, smooth enough that decoders agree."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(5)
    for folder in ("cat food", "dogs"):
        (root / folder).mkdir()
        for i in range(12):
            height, width = rng.integers(40, 130, 2)
            coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
            image = coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC)
            if i % 4 == 3:
                image.save(root / folder / f"{i}.png")
            else:
                image.save(root / folder / f"{i}.jpg", quality=95, subsampling=0 if i % 2 else 2)
    return root


@pytest.fixture(scope="session")
def varied(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """`photos`, converted, with both packs."""
    return convert(photos, tmp_path_factory.mktemp("data") / "photos")
