"""Engines and stores against Pillow and against each other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset
from feedline.pipeline.engines.choose import make_engine
from feedline.pipeline.stores import STORES, open_store
from tests.conftest import convert
from tests.pipeline.loading import DEVICES, ENGINES, epoch, expected, make_loader


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("part", ["train", "val"])
def test_batches_follow_the_plan(dataset: Dataset, store: Any, engine: Any, part: Any, device: str) -> None:
    """Every store and engine against Pillow: same order, same windows, normalised pixels to float rounding."""
    loader = make_loader(dataset, store=store, engine=engine, part=part, device=device, decode="cpu")
    batches = epoch(loader, 3)
    assert len(batches) == len(loader)
    for k, (images, labels) in enumerate(batches):
        plan = loader.plan.batch(3, k)
        assert images.device.type == labels.device.type == device
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.tolist() == dataset.labels[plan.ids].tolist()
        # Decoders may differ by one in 0..255, which is 1 / 255 / 0.22 here.
        tolerance = 0.0179 if store in ("files", "jpeg") else 1e-5
        torch.testing.assert_close(images.cpu(), expected(dataset, plan), atol=tolerance, rtol=0)


@pytest.mark.gpu
def test_mixed_decoding_stays_near_the_cpu_decoder(dataset: Dataset) -> None:
    mixed = epoch(make_loader(dataset, store="jpeg", engine="dali", device="cuda", decode="mixed"))
    cpu = epoch(make_loader(dataset, store="jpeg", engine="dali", device="cpu"))
    for (a, _), (b, _) in zip(mixed, cpu, strict=True):
        assert (a.cpu() - b).abs().mean() < 0.02


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
@pytest.mark.parametrize("device", DEVICES)
def test_engines_agree_on_images_of_all_sizes(varied: Dataset, store: Any, part: Any, device: str) -> None:
    """Random resized crop, or centre crop, then a resize: DALI and torchvision differ by a few levels of 255."""
    options: dict[str, Any] = {
        "split": "70-30", "store": store, "part": part, "batch_size": 5, "image_size": 48, "decode": "cpu"
    }  # fmt: skip
    dali = epoch(make_loader(varied, engine="dali", device=device, **options), 2)
    reference = epoch(make_loader(varied, engine="torch", **options), 2)
    assert len(dali) == len(reference) > 0
    for (a, la), (b, lb) in zip(dali, reference, strict=True):
        assert a.shape[1:] == (3, 48, 48)
        assert la.tolist() == lb.tolist()
        levels = (a.cpu() - b).abs() * 255 * 0.225
        assert levels.mean() < 0.5
        assert levels.max() < 5


@pytest.fixture(scope="module")
def turned(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """`photos` as JPEGs whose EXIF block says how to turn them."""
    root = tmp_path_factory.mktemp("turned")
    for number, path in enumerate(sorted(photos.rglob("*.*"))):
        exif = Image.Exif()
        exif[0x112] = number % 8 + 1
        (root / "in" / path.parent.name).mkdir(parents=True, exist_ok=True)
        Image.open(path).save(root / "in" / path.parent.name / f"{path.stem}.jpg", quality=95, exif=exif)
    return convert(root / "in", root / "out")


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("store", ["files", "jpeg"])
def test_engines_agree_on_images_that_are_turned(turned: Dataset, store: Any, part: Any) -> None:
    """Windows are those of the upright image, also where DALI decodes nothing else."""
    options: dict[str, Any] = {"split": "70-30", "part": part, "batch_size": 5, "image_size": 48}
    reference = epoch(make_loader(turned, engine="torch", store="raw", **options), 2)
    for engine in ENGINES:
        batches = epoch(make_loader(turned, engine=engine, store=store, **options), 2)
        assert len(batches) == len(reference) > 0
        for (a, _), (b, _) in zip(batches, reference, strict=True):
            levels = (a - b).abs() * 255 * 0.225
            assert levels.mean() < 0.5
            assert levels.max() < 5


EDITS = [
    ("color-jitter:hue=0.3", "flip"),
    ("erasing:p=0.7", "flip"),
    ("color-jitter", "erasing:p=0.5", "pad-crop:8", "alternating-flip"),
    ("trivial-augment", "pad-crop"),
    ("rand-augment:n=1:m=20", "flip"),
]


@pytest.mark.parametrize("augment", EDITS, ids="+".join)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float16])
@pytest.mark.parametrize("device", DEVICES)
def test_engines_edit_alike(dataset: Dataset, augment: tuple[str, ...], dtype: torch.dtype, device: str) -> None:
    """To a level of 255, in every dtype; and an edited image differs from the plain one."""
    options: dict[str, Any] = {"store": "raw", "dtype": dtype, "mean": (0.4, 0.5, 0.6), "std": (1, 1, 1)}
    dali, reference = (
        epoch(make_loader(dataset, engine=e, device=d, augment=augment, **options), 1)
        for e, d in (("dali", device), ("torch", "cpu"))
    )
    crop = tuple(item for item in augment if "crop" in item or "flip" in item)
    plain = epoch(make_loader(dataset, engine="torch", augment=crop, **options), 1)
    scale, changed = 1 if dtype == torch.uint8 else 255, 0
    for (a, la), (b, lb), (c, _) in zip(dali, reference, plain, strict=True):
        assert a.dtype == b.dtype == dtype
        assert la.tolist() == lb.tolist()
        assert b.is_contiguous(memory_format=torch.channels_last)
        assert (a.cpu().float() - b.float()).abs().max() * scale < 1.2
        changed += int((b != c).flatten(1).any(1).sum())
    assert changed > 40


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("changes", [{}, {"augment": EDITS[0], "image_size": 40}])
def test_every_store_gives_edited_images(
    dataset: Dataset, store: Any, engine: Any, device: str, changes: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"augment": EDITS[2], "dtype": torch.uint8, "decode": "cpu", **changes}
    raw = epoch(make_loader(dataset, engine="torch", store="raw", **options), 2)
    other = epoch(make_loader(dataset, engine=engine, store=store, device=device, **options), 2)
    for (a, _), (b, _) in zip(raw, other, strict=True):
        levels = (a.int() - b.cpu().int()).abs()
        assert levels.max() <= 10, "decoders and resizing differ by 5 at most, and the jitter may double that"
        assert levels.float().mean() < 0.5


def test_engines_do_operations_in_a_row_alike(dataset: Dataset) -> None:
    """A level of 255 that is rounded differently may be solarized or posterized differently: a few in 10,000."""
    options: dict[str, Any] = {"store": "raw", "dtype": torch.uint8, "augment": ("rand-augment:n=3:m=15", "flip")}
    both = [torch.cat([a for a, _ in epoch(make_loader(dataset, engine=e, **options))]) for e in ENGINES]
    assert ((both[0].int() - both[1].int()).abs() > 2).double().mean() < 5e-4


@pytest.mark.parametrize("augment", EDITS, ids="+".join)
def test_engines_edit_images_of_all_sizes_alike(varied: Dataset, augment: tuple[str, ...]) -> None:
    augment = ("random-resized-crop", *(item for item in augment if "crop" not in item))
    options: dict[str, Any] = {
        "split": "70-30", "store": "jpeg", "batch_size": 5, "image_size": 48, "dtype": torch.uint8, "augment": augment
    }  # fmt: skip
    for (a, _), (b, _) in zip(*(epoch(make_loader(varied, engine=e, **options)) for e in ENGINES), strict=True):
        levels = (a.int() - b.int()).abs().float()
        assert levels.mean() < 1
        # Resizing differs by some levels, which solarize and posterize may turn into many.
        assert levels.max() < 10 or "augment" in augment[1]


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("device", DEVICES)
def test_only_the_window_of_a_turned_photograph_is_decoded(tmp_path: Path, part: Any, device: str) -> None:
    """DALI decodes windows of the upright image, whatever the EXIF orientation. On a GPU it decodes there."""
    rng = np.random.default_rng(0)
    for number in range(16):
        folder = tmp_path / "in" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x112] = (1, 3, 6, 8)[number // 2 % 4]
        coarse.resize((160, 100), Image.Resampling.BICUBIC).save(folder / f"{number}.jpg", quality=95, exif=exif)
    turned = convert(tmp_path / "in", tmp_path / "out")
    assert {tuple(size) for size in turned.sizes.tolist()} == {(100, 160), (160, 100)}
    options: dict[str, Any] = {"split": "70-30", "part": part, "store": "jpeg", "batch_size": 4, "image_size": 48}
    reference = epoch(make_loader(turned, engine="torch", **options))
    batches = epoch(make_loader(turned, engine="dali", device=device, **options))
    mean, most = (0.5, 5) if device == "cpu" else (1.5, 16)  # nvJPEG rounds in another way
    for (a, _), (b, _) in zip(batches, reference, strict=True):
        levels = (a.cpu() - b).abs() * 255 * 0.225
        assert levels.mean() < mean
        assert levels.max() < most


@pytest.mark.parametrize("engine", ENGINES)
def test_images_are_resized_to_a_smaller_size(dataset: Dataset, engine: Any) -> None:
    images, _ = next(iter(make_loader(dataset, engine=engine, store="raw", image_size=32, part="val")))
    whole, _ = next(iter(make_loader(dataset, engine=engine, store="raw", part="val")))
    means = torch.nn.functional.avg_pool2d(whole, 2)
    assert images.shape == (20, 3, 32, 32)
    assert (images - means).abs().mean() < 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_half_precision_batches(dataset: Dataset, engine: Any) -> None:
    half, _ = next(iter(make_loader(dataset, engine=engine, store="raw", dtype=torch.float16)))
    full, _ = next(iter(make_loader(dataset, engine=engine, store="raw")))
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), full, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_uint8_batches(dataset: Dataset, engine: Any) -> None:
    """The same windows, not normalised; whole images come directly from the store."""
    for part in ("train", "val"):
        pixels, _ = next(iter(make_loader(dataset, engine=engine, store="raw", part=part, dtype=torch.uint8)))
        full, _ = next(iter(make_loader(dataset, engine=engine, store="raw", part=part, mean=(0, 0, 0), std=(1, 1, 1))))
        assert pixels.dtype == torch.uint8
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(pixels / 255, full)


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_yield_each_plan_batch_with_its_images(dataset: Dataset, engine: Any, part: Any) -> None:
    """In order, from any batch on, also if a task of the torch engine makes several small batches."""
    loader = make_loader(dataset, engine=engine, store="raw", part=part, batch_size=3)
    built = make_engine(engine, open_store("raw", dataset, loader.device), loader.spec)
    for first in (0, 5):
        planned = [loader.plan.batch(1, k) for k in range(first, len(loader))]
        for (batch, images), wanted in zip(built.run(planned), planned, strict=True):
            assert batch is wanted
            torch.testing.assert_close(images, expected(dataset, wanted), atol=1e-5, rtol=0)
    built.close()
