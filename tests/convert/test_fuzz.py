"""Image files with random damage: each is read or left out, by both engines alike."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline import Dataset, Loader
from feedline.pipeline.dataset.decode import DecodeError, decode
from feedline.pipeline.dataset.inspection import inspect
from feedline.pipeline.engines.types import ENGINES
from tests.conftest import convert
from tests.convert import variants
from tests.convert.helpers import save_noise

FILES = {**variants.right(), **variants.warning()}
SUFFIXES = sorted({name.rsplit(".", 1)[1] for name in FILES})
MUTANTS = 60  # of each kind of file
KEPT = 200


def damage(data: bytes, rng: random.Random) -> bytes:
    """The bytes cut off, or with a few bits, bytes or runs of bytes changed or inserted."""
    content = bytearray(data)
    position = rng.randrange(len(content))
    match rng.randrange(5):
        case 0:
            del content[position:]
        case 1:
            for _ in range(rng.choice((1, 1, 3, 10))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        case 2:
            content[position:position] = rng.randbytes(rng.choice((1, 4, 50)))
        case 3:
            count = rng.choice((1, 4, 16))
            content[position : position + count] = rng.choice((b"\0", b"\x7f", b"\xff")) * count
        case 4:  # where sizes and offsets are
            for _ in range(rng.choice((1, 2, 4))):
                content[rng.randrange(min(len(content), 64))] = rng.choice((0, 255, rng.randrange(256)))
    return bytes(content)


def mutants(names: list[str], seed: str) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(seed)
    while True:
        name = rng.choice(names)
        yield name, damage(FILES[name], rng)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_random_damage_ends_in_an_error_or_in_one_image(suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    """`inspect` takes what `decode` does, to the same pixels, and what it mended is read to what it says."""
    names = [name for name in FILES if name.endswith(f".{suffix}")]
    for _, (name, data) in zip(range(MUTANTS), mutants(names, suffix), strict=False):
        decoded = pixels_or_none(data)
        try:
            inspected = inspect(data)
        except DecodeError:
            assert decoded is None, name
            continue
        assert np.array_equal(decode(inspected.data).pixels, inspected.pixels), name
        assert decoded is None or np.array_equal(decoded, inspected.pixels), name
        assert inspected.pixels.dtype == np.uint8
        assert inspected.pixels.size == np.prod(inspected.pixels.shape[:2]) * 3 > 0
    assert capfd.readouterr() == ("", "")


def pixels_or_none(data: bytes) -> Any:
    try:
        return decode(data).pixels
    except DecodeError:
        return None


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, dict[int, Any]]:
    """A dataset of damaged files that were kept, and the pixels of each."""
    root = tmp_path_factory.mktemp("fuzz")
    size = (variants.HEIGHT, variants.WIDTH)
    for i in range(4):
        save_noise(root / f"in/train/{'ab'[i % 2]}/{i}.png", i, size=size)
    (root / "in/val/a").mkdir(parents=True)
    kept: list[Any] = []
    for name, data in mutants([name for name in FILES if name.endswith((".jpg", ".png"))], "engines"):
        try:
            pixels = inspect(data).pixels
        except DecodeError:
            continue
        if pixels.shape[:2] == size:
            (root / f"in/val/a/{len(kept):04d}-{name}").write_bytes(data)
            kept.append(pixels)
        if len(kept) == KEPT:
            break
    dataset = convert(root / "in", root / "out")
    assert dataset.count == 4 + KEPT
    return dataset, {4 + i: pixels for i, pixels in enumerate(kept)}


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_reads_what_was_kept_to_the_same_pixels(built: Any, engine: Any, store: Any) -> None:
    dataset, wanted = built
    loader = Loader(
        dataset, split="official", part="val", store=store, engine=engine, batch_size=50, image_size=40, threads=2,
        dtype=torch.uint8,
    )  # fmt: skip
    order = np.concatenate([loader.plan.batch(0, k).ids for k in range(len(loader))]).tolist()
    images = torch.cat([images for images, _ in loader]).permute(0, 2, 3, 1).numpy()
    wrong = [Path(dataset.path(i)).name for i, image in zip(order, images, strict=True) if (image != wanted[i]).any()]
    assert wrong == []
    assert len(order) == KEPT
