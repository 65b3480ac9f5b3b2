import gc
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline.pipeline import Dataset, InputError, Loader, compiled
from feedline.pipeline.buffers import BufferPool
from feedline.pipeline.crops import Cropper, crop
from feedline.pipeline.loader import IMAGENET_MEAN, IMAGENET_STD
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import STORES
from tests.conftest import convert

ENGINES = ["dali", "torch"]
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def make(dataset: Dataset, **changes: Any) -> Loader:
    options: dict[str, Any] = {"split": "official", "batch_size": 20, "threads": 2, "seed": 7}
    return Loader(dataset, **{**options, **changes})


def epoch(loader: Loader, number: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    loader.set_epoch(number)
    return list(loader)


def expected(dataset: Dataset, batch: PlanBatch) -> torch.Tensor:
    """A batch by Pillow and plain arithmetic: pad, crop, mirror, normalise."""
    images = []
    for image, (y, x, h, w), flip in zip(batch.ids.tolist(), batch.window.tolist(), batch.flip.tolist(), strict=True):
        pixels = np.asarray(Image.open(dataset.root / dataset.path(image)).convert("RGB"))
        padded = np.pad(pixels, ((64, 64), (64, 64), (0, 0)))
        window = padded[64 + y : 64 + y + h, 64 + x : 64 + x + w]
        images.append(window[:, ::-1] if flip else window)
    scaled = np.stack(images) / 255.0
    return torch.from_numpy((scaled - IMAGENET_MEAN) / IMAGENET_STD).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("part", ["train", "val"])
def test_batches_hold_what_the_plan_says(dataset: Dataset, store: Any, engine: Any, part: Any, device: str) -> None:
    """Every store and engine against Pillow: same order, same windows, normalised pixels to float rounding."""
    loader = make(dataset, store=store, engine=engine, part=part, device=device, decode="cpu")
    batches = epoch(loader, 3)
    assert len(batches) == len(loader)
    for k, (images, labels) in enumerate(batches):
        plan = loader.plan.batch(3, k)
        assert images.device.type == labels.device.type == device
        assert images.dtype == torch.float32
        assert images.is_contiguous(memory_format=torch.channels_last)
        assert labels.tolist() == dataset.labels[plan.ids].tolist()
        # A decoder may round a value of 0..255 otherwise by one: 1 / 255 / 0.22.
        tolerance = 0.0179 if store in ("files", "jpeg") else 1e-5
        torch.testing.assert_close(images.cpu(), expected(dataset, plan), atol=tolerance, rtol=0)


@pytest.mark.gpu
def test_mixed_decoding_stays_near_the_cpu_decoder(dataset: Dataset) -> None:
    mixed = epoch(make(dataset, store="jpeg", engine="dali", device="cuda", decode="mixed"))
    cpu = epoch(make(dataset, store="jpeg", engine="dali", device="cpu"))
    for (a, _), (b, _) in zip(mixed, cpu, strict=True):
        assert (a.cpu() - b).abs().mean() < 0.02


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
@pytest.mark.parametrize("device", DEVICES)
def test_engines_agree_on_images_of_all_sizes(varied: Dataset, store: Any, part: Any, device: str) -> None:
    """Random resized crop, or centre crop, then a resize: DALI and torchvision filter alike to a few levels of 255."""
    options: dict[str, Any] = {
        "split": "70-30", "store": store, "part": part, "batch_size": 5, "image_size": 48, "decode": "cpu"
    }  # fmt: skip
    dali = epoch(make(varied, engine="dali", device=device, **options), 2)
    reference = epoch(make(varied, engine="torch", **options), 2)
    assert len(dali) == len(reference) > 0
    for (a, la), (b, lb) in zip(dali, reference, strict=True):
        assert a.shape[1:] == (3, 48, 48)
        assert la.tolist() == lb.tolist()
        levels = (a.cpu() - b).abs() * 255 * 0.225
        assert levels.mean() < 0.5
        assert levels.max() < 5


@pytest.mark.parametrize("part", ["train", "val"])
def test_only_the_window_of_a_turned_photograph_is_decoded(tmp_path: Path, part: Any) -> None:
    """DALI decodes windows of the upright image, whatever way the file's EXIF block says it lies."""
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
    for (a, _), (b, _) in zip(*(epoch(make(turned, engine=e, **options)) for e in ENGINES), strict=True):
        levels = (a - b).abs() * 255 * 0.225
        assert levels.mean() < 0.5
        assert levels.max() < 5


@pytest.mark.parametrize("engine", ENGINES)
def test_images_can_be_made_smaller(dataset: Dataset, engine: Any) -> None:
    images, _ = next(iter(make(dataset, engine=engine, store="raw", image_size=32, part="val")))
    whole, _ = next(iter(make(dataset, engine=engine, store="raw", part="val")))
    means = torch.nn.functional.avg_pool2d(whole, 2)
    assert images.shape == (20, 3, 32, 32)
    assert (images - means).abs().mean() < 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_three_epochs_of_exactly_len_batches(dataset: Dataset, engine: Any) -> None:
    loader = make(dataset, engine=engine)
    seen = [[labels.tolist() for _, labels in loader] for _ in range(3)]
    assert [len(epoch) for epoch in seen] == [len(loader)] * 3 == [4] * 3
    assert seen[0] != seen[1] != seen[2], "without set_epoch, each loop is the next epoch"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("device", DEVICES)
def test_a_loader_can_be_left_in_mid_epoch_and_used_again(dataset: Dataset, engine: Any, device: str) -> None:
    loader = make(dataset, engine=engine, device=device, store="raw")
    whole = epoch(loader, 1)
    for stop in (0, 1, 2, 3):
        loader.set_epoch(1)
        for k, (images, _) in enumerate(loader):
            assert torch.equal(images, whole[k][0])
            if k == stop:
                break
    again = epoch(loader, 1)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(again, whole, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_epoch_can_be_begun_at_any_batch(dataset: Dataset, engine: Any) -> None:
    loader = make(dataset, engine=engine)
    whole = epoch(loader, 2)
    loader.set_epoch(2, first=2)
    rest = list(loader)
    assert len(rest) == 2
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(rest, whole[2:], strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", ["jpeg", "raw"])
def test_batches_that_are_kept_stay_as_they_were(dataset: Dataset, engine: Any, store: Any) -> None:
    """The engine's buffers are not used again under a tensor that somebody holds."""
    loader = make(dataset, engine=engine, store=store, batch_size=8)
    kept, copies = [], []
    for _ in range(4):
        for images, _ in loader:
            kept.append(images)
            copies.append(images.clone())
    gc.collect()
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_the_torch_engine_uses_no_more_threads_than_it_is_given(dataset: Dataset) -> None:
    """torch's operations would take all cores in each of its workers."""
    before, engine = torch.get_num_threads(), make(dataset, engine="torch")._engine
    torch.set_num_threads(3)
    try:
        workers = engine._workers()  # type: ignore[attr-defined]
        assert [workers.submit(torch.get_num_threads).result() for _ in range(4)] == [1] * 4
        assert torch.get_num_threads() == engine._threads  # type: ignore[attr-defined]
    finally:
        engine.close()
        torch.set_num_threads(before)


def test_no_thread_is_left_behind(dataset: Dataset) -> None:
    before = set(threading.enumerate())
    for engine in ENGINES:
        loader = make(dataset, engine=engine)
        next(iter(loader))
        list(loader)
        loader.close()
    gc.collect()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_may_end_in_mid_epoch(dataset: Dataset, engine: str) -> None:
    program = (
        "from feedline.pipeline import Dataset, Loader\n"
        f"loader = Loader(Dataset({str(dataset.root)!r}), engine={engine!r}, batch_size=8, split='official')\n"
        "batches = iter(loader)\n"
        "next(batches)\n"
        "raise ValueError('a bug of the user')\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "ValueError: a bug of the user"


def test_a_second_loop_ends_the_first(dataset: Dataset) -> None:
    loader = make(dataset, engine="torch")
    first = iter(loader)
    next(first)
    assert len(list(loader)) == 4
    with pytest.raises(RuntimeError, match="another one"):
        next(first)


@pytest.mark.parametrize("engine", ENGINES)
def test_classes_keeps_the_first_ones(dataset: Dataset, engine: Any) -> None:
    loader = make(dataset, engine=engine, classes=2, part="val")
    labels = torch.cat([labels for _, labels in loader])
    assert len(labels) == loader.images == 16
    assert set(labels.tolist()) == {0, 1}


def test_ranks_see_the_global_batches(dataset: Dataset) -> None:
    whole = epoch(make(dataset, engine="torch"))
    ranks = [epoch(make(dataset, engine="torch", rank=r, world_size=2)) for r in range(2)]
    for (images, labels), (a, la), (b, lb) in zip(whole, *ranks, strict=True):
        assert torch.equal(torch.cat([a, b]), images)
        assert torch.equal(torch.cat([la, lb]), labels)


def test_mean_and_std_are_used(dataset: Dataset) -> None:
    loader = make(dataset, engine="dali", store="raw", mean=dataset.mean, std=dataset.std, part="train", padding=0)
    pixels = torch.cat([images for images, _ in loader])
    assert abs(pixels.mean()) < 0.05
    assert abs(pixels.std() - 1) < 0.05


@pytest.mark.parametrize("engine", ENGINES)
def test_half_precision_batches(dataset: Dataset, engine: Any) -> None:
    half, _ = next(iter(make(dataset, engine=engine, store="raw", dtype=torch.float16)))
    full, _ = next(iter(make(dataset, engine=engine, store="raw")))
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), full, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_image_is_named(varied: Dataset, tmp_path: Any, engine: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(varied.root, copy)
    victim = Dataset(copy).path(int(varied.ids("70-30", "val")[1]))
    (copy / victim).write_bytes(b"no image at all")
    loader = make(Dataset(copy), split="70-30", store="files", engine=engine, part="val", image_size=32)
    with pytest.raises(InputError, match="does not decode") as caught:
        list(loader)
    assert victim in str(caught.value)


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
def test_a_shuffle_by_blocks_covers_every_image(dataset: Dataset, store: Any) -> None:
    options: dict[str, Any] = {"store": store, "engine": "torch", "batch_size": 16, "shuffle": "blocks"}
    loader = make(dataset, shuffle_block=7, shuffle_group=3, **options)
    seen = np.concatenate([loader.plan.batch(0, k).ids for k in range(len(loader))])
    assert sorted(seen.tolist()) == sorted(loader.plan.ids.tolist())
    for k, (images, labels) in enumerate(epoch(loader)):
        assert labels.tolist() == dataset.labels[loader.plan.batch(0, k).ids].tolist()
        assert len(images) == 16


@pytest.mark.parametrize("engine", ENGINES)
def test_pixels_as_they_are(dataset: Dataset, engine: Any) -> None:
    """uint8 batches: the same windows, not normalised; whole images straight out of the store."""
    for part in ("train", "val"):
        pixels, _ = next(iter(make(dataset, engine=engine, store="raw", part=part, dtype=torch.uint8)))
        full, _ = next(iter(make(dataset, engine=engine, store="raw", part=part, mean=(0, 0, 0), std=(1, 1, 1))))
        assert pixels.dtype == torch.uint8
        assert pixels.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(pixels / 255, full)


def test_memory_of_dropped_batches_is_used_again() -> None:
    pool = BufferPool((4, 4), torch.float32, keep=2)
    first = torch.from_numpy(pool.take(4))
    address = first.data_ptr()
    part = first[1:]
    del first
    assert torch.from_numpy(pool.take(2)).data_ptr() != address, "a view of it is still held"
    del part
    again = torch.from_numpy(pool.take(3))
    assert again.data_ptr() == address
    assert again.shape == (3, 4)
    assert address % 64 == 0, "a cache line"


@pytest.fixture(params=["compiled", "plain"])
def kernels(request: Any, monkeypatch: Any) -> str:
    """With the compiled kernels, and with what does their work where they are not."""
    if request.param == "plain":
        monkeypatch.setattr(compiled, "kernels", None)
    elif compiled.kernels is None:
        pytest.skip("the kernels are not compiled here: there was no C compiler when this was installed")
    return str(request.param)


@pytest.mark.parametrize("window", [(20, 24), (9, 14), (1, 1), (30, 40)])
def test_batches_are_cropped_like_single_images(window: tuple[int, int], kernels: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50, 20, 24, 3), dtype=np.uint8)
    padded = np.pad(images, ((0, 0), (100, 100), (100, 100), (0, 0)))
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    plain, normalised = Cropper(window), Cropper(window, IMAGENET_MEAN, IMAGENET_STD)
    for reach in (0, 5, 2, 60):
        count = 133
        ids = rng.integers(0, 50, count)
        low = np.minimum([0, 0], np.array([20, 24]) - window)
        corner = rng.integers(low - reach, np.maximum(np.array([20, 24]) - window, 0) + reach + 1, (count, 2))
        windows = np.concatenate([corner, np.tile(window, (count, 1))], axis=1).astype(np.int32)
        flip = rng.integers(0, 2, count).astype(bool)
        pixels, floats = np.full((count, *window, 3), 7, np.uint8), np.full((count, *window, 3), 7, np.float32)
        plain(images, ids, windows, flip, pixels)
        normalised(images, ids, windows, flip, floats)
        for i in range(count):
            y, x = corner[i] + 100
            alone = padded[ids[i], y : y + window[0], x : x + window[1]]
            alone = alone[:, ::-1] if flip[i] else alone
            assert np.array_equal(crop(images[ids[i]], windows[i].tolist())[:, :: -1 if flip[i] else 1], alone)
            assert np.array_equal(pixels[i], alone)
            np.testing.assert_allclose(floats[i], (alone / 255 - mean) / std, atol=1e-6)


def test_one_window_for_all_need_not_be_repeated(kernels: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    window = np.broadcast_to(np.array([2, 1, 4, 6], dtype=np.int32), (3, 4))
    out = np.empty((3, 4, 6, 3), dtype=np.uint8)
    Cropper((4, 6))(images, np.array([4, 0, 4]), window, np.zeros(3, dtype=bool), out)
    assert np.array_equal(out, images[[4, 0, 4], 2:6, 1:7])


def test_kernels_and_what_does_their_work_agree_to_the_bit(dataset: Dataset, monkeypatch: Any) -> None:
    """A run may go on on a machine without a C compiler."""
    if compiled.kernels is None:
        pytest.skip("the kernels are not compiled here")
    for options in ({"store": "raw"}, {"store": "jpeg"}, {"store": "raw", "shuffle": "blocks", "image_size": 40}):
        with monkeypatch.context() as without:
            with_kernels = epoch(make(dataset, engine="torch", **options), 3)
            without.setattr(compiled, "kernels", None)
            plain = epoch(make(dataset, engine="torch", **options), 3)
        for (a, la), (b, lb) in zip(with_kernels, plain, strict=True):
            assert torch.equal(a, b)
            assert torch.equal(la, lb)


def test_what_does_not_fit_is_refused(kernels: str) -> None:
    """Nothing outside the images is read, nothing outside the batch written."""
    images, out = np.zeros((5, 8, 8, 3), dtype=np.uint8), np.zeros((2, 8, 8, 3), dtype=np.uint8)
    window, flip = np.array([[0, 0, 8, 8]], dtype=np.int32), np.zeros(2, dtype=bool)
    for ids in ([0, 5], [-1, 0]):
        with pytest.raises(IndexError):
            Cropper((8, 8))(images, np.array(ids), window, flip, out)
    with pytest.raises(ValueError, match="window"):
        Cropper((8, 8))(images, np.array([0, 1]), window - 1, flip, out)
    with pytest.raises(ValueError, match=r"fit|broadcast|shape"):
        Cropper((8, 8))(images, np.array([0, 1]), window, flip, out[:1])


def test_an_image_of_another_size_is_named(dataset: Dataset, tmp_path: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    Image.new("RGB", (32, 32)).save(copy / dataset.path(0))
    with pytest.raises(InputError, match="32x32") as caught:
        list(make(Dataset(copy), store="files", engine="torch", batch_size=96))
    assert dataset.path(0) in str(caught.value)


def test_a_missing_image_is_named(dataset: Dataset, tmp_path: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    (copy / dataset.path(0)).unlink()
    loader = make(Dataset(copy), store="files", engine="torch", batch_size=96)
    with pytest.raises(InputError, match="No such file") as caught:
        list(loader)
    assert dataset.path(0) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "60-40"}, "--split 60-40: .* official, 70-30"),
        ({"classes": 9}, "--classes 9: .* has 4 classes"),
        ({"batch_size": 1000}, "only 96 images"),
        ({"store": "tape"}, "--store tape: choose one of auto, files"),
        ({"engine": "steam"}, "--engine steam: choose one of auto, dali"),
    ],
)
def test_what_cannot_be_met_is_refused(dataset: Dataset, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make(dataset, **changes)


@pytest.mark.gpu
def test_auto_falls_back_to_torch_and_says_so(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "feedline.pipeline.dali_engine", None)
    loader = make(dataset, engine="auto", device="cuda")
    assert loader.engine_name == "torch"
    assert len(caplog.messages) == 1
    assert "DALI cannot be imported" in caplog.messages[0]


def test_dali_that_is_not_there_is_said(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "feedline.pipeline.dali_engine", None)
    assert make(dataset, engine="auto").engine_name == "torch"
    with pytest.raises(InputError, match="use --engine torch"):
        make(dataset, engine="dali")
