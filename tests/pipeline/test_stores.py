import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from feedline import Dataset, InputError, PlanBatch
from feedline.pipeline import compiled
from feedline.pipeline.cropper import Cropper
from feedline.pipeline.engines.resize import resize
from feedline.pipeline.engines.types import ENGINES
from feedline.pipeline.resizer import Resizer
from feedline.pipeline.stores import (
    EncodedStore,
    FilesStore,
    HostStore,
    choose,
    choose_store,
    encoded,
    open_store,
    resolve_store,
)
from tests.conftest import convert
from tests.pipeline.dataset.folders import flip_bit, forget_checksums
from tests.pipeline.loading import epoch, make_loader

CPU = torch.device("cpu")
HOST_STORES: list[Any] = ["files", "jpeg", "raw"]


def opened(name: Any, dataset: Dataset) -> HostStore:
    store = open_store(name, dataset, CPU)
    assert isinstance(store, HostStore)
    return store


def test_auto_takes_the_store_that_fits_in_memory(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def choice(**packs: float) -> str:
        about = {k: {"bytes": int(gib * 2**30), "files": 1, "image_size": [64, 64]} for k, gib in packs.items()}
        monkeypatch.setattr(dataset, "packs", about)
        return choose_store(dataset, CPU)[0]

    assert choice(raw=0.001, jpeg=0.001) == "raw"
    assert choice(raw=10**6, jpeg=10**5) == "jpeg"
    assert choice(raw=10**6) == "raw"
    assert choice(jpeg=1) == "jpeg"
    assert choice() == "files"


def test_auto_says_why(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "machine_memory", lambda: 64 * 2**30)
    name, why = choose_store(dataset, CPU)
    assert (name, why) == ("raw", "the raw pack of 1.5 MiB fits in half of this machine's 64 GiB of memory")


@pytest.mark.parametrize("name", HOST_STORES)
def test_every_store_has_the_same_images(dataset: Dataset, name: Any) -> None:
    store, ids = opened(name, dataset), np.array([100, 0, 57, 127])
    files = [(dataset.root / dataset.path(i)) for i in ids.tolist()]
    wanted = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    for image, data, file, pixels in zip(store.pixels(ids), store.read(ids), files, wanted, strict=True):
        assert np.array_equal(image, pixels)
        assert data.tobytes() == (file.read_bytes() if store.encoded else pixels.tobytes())
    gathered = np.empty((4, 64, 64, 3), dtype=np.uint8)
    store.gather(ids, gathered)
    assert np.array_equal(gathered, wanted)
    assert store.sizes(ids).tolist() == [[64, 64]] * 4


@pytest.mark.parametrize("name", HOST_STORES)
def test_windows_are_cut_from_more_images_than_a_block(dataset: Dataset, name: Any) -> None:
    rng, count = np.random.default_rng(0), 2 * HostStore.BLOCK + 3
    ids = rng.integers(0, 128, count)
    window = np.concatenate([rng.integers(-5, 40, (count, 2)), np.tile([30, 20], (count, 1))], axis=1).astype(np.int32)
    batch = PlanBatch(ids, window, rng.integers(0, 2, count).astype(bool))
    store, cut, wanted = opened(name, dataset), *(np.empty((count, 30, 20, 3), dtype=np.uint8) for _ in range(2))
    store.cut(batch, Cropper((30, 20)), cut)
    images = np.stack(store.pixels(np.arange(128)))
    Cropper((30, 20))(images, ids, window, batch.flip, wanted)
    assert np.array_equal(cut, wanted)


@pytest.mark.usefixtures("needs_kernels")
@pytest.mark.parametrize("nbytes", [1, 20_000, HostStore.BLOCK_BYTES])
@pytest.mark.parametrize("name", HOST_STORES)
def test_windows_are_resized_from_blocks_that_fit_in_a_cache(
    varied: Dataset, dataset: Dataset, name: Any, nbytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of an image, of several and of all."""
    monkeypatch.setattr(HostStore, "BLOCK_BYTES", nbytes)
    for folder in (varied, dataset):
        store, ids = opened(name, folder), np.random.default_rng(0).permutation(24)
        window = np.concatenate([np.zeros((24, 2)), store.sizes(ids) // 2], axis=1).astype(np.int32)
        batch = PlanBatch(ids, window, ids % 2 == 0)
        out = np.empty((24, 30, 20, 3), dtype=np.uint8)
        store.resize(batch, Resizer((30, 20)), out)
        for image, (_, _, h, w), flip, pixels in zip(store.pixels(ids), window.tolist(), batch.flip, out, strict=True):
            wanted = resize(torch.from_numpy(image[:h, :w].copy())[None], (30, 20))[0]
            assert np.array_equal(pixels, wanted.flip(1) if flip else wanted)


@pytest.mark.parametrize("name", HOST_STORES)
def test_sizes_of_images_of_different_sizes(varied: Dataset, name: Any) -> None:
    store, ids = opened(name, varied), np.arange(24)
    assert store.size is None
    assert store.sizes(ids).tolist() == [list(image.shape[:2]) for image in store.pixels(ids)]


def test_a_long_file_is_read_completely(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number, side in enumerate((8, 147, 148, 300)):  # around the first read, of 64 KiB, and well above
        folder = tmp_path / "in" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    dataset = convert(tmp_path / "in", tmp_path / "out", "--packs", "raw", "--val-fraction", "0.5")
    for image, data in enumerate(FilesStore(dataset).read(np.arange(4))):
        assert data.tobytes() == (dataset.root / dataset.path(image)).read_bytes()


@pytest.mark.parametrize("most", [1000, 1 << 20])
def test_a_file_system_that_gives_less_than_it_has(varied: Dataset, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """As FUSE and NFS may."""
    read = os.read
    monkeypatch.setattr(os, "read", lambda file, count: read(file, min(count, most)))
    for image, data in enumerate(FilesStore(varied).read(np.arange(24))):
        assert data.tobytes() == (varied.root / varied.path(image)).read_bytes()


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("store", ["files", "jpeg"])
def test_files_of_similar_lengths_as_one_array(
    dataset: Dataset, store: Any, kernels: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kernels:
        monkeypatch.setattr(compiled, "kernels", None)
    ids, opened_store = np.array([5, 0, 90, 5]), opened(store, dataset)
    assert isinstance(opened_store, EncodedStore)
    files, rows = opened_store.read(ids), opened_store.rows(ids)
    assert isinstance(rows, np.ndarray)
    assert rows.shape == (4, max(map(len, files)))
    for data, row in zip(files, rows, strict=True):
        assert row[: len(data)].tobytes() == data.tobytes()
        assert (row[len(data) :] == 0xFF).all()


@pytest.mark.parametrize("store", ["files", "jpeg"])
def test_one_long_file_does_not_blow_up_a_batch(dataset: Dataset, store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoded, "WASTE", 1.0)
    opened_store, ids = opened(store, dataset), np.arange(3)
    assert isinstance(opened_store, EncodedStore)
    assert [row.tobytes() for row in opened_store.rows(ids)] == [data.tobytes() for data in opened_store.read(ids)]


def test_the_kernel_writes_only_rows_that_files_fit_in() -> None:
    kernels = pytest.importorskip("feedline.pipeline._kernels")
    data = np.arange(10, dtype=np.uint8)
    place, out = np.array([data.ctypes.data], dtype=np.uint64), np.zeros((1, 8), dtype=np.uint8)
    for length, row in ((10, 8), (4, 0), (4, 16), (4, -1)):
        with pytest.raises(ValueError, match="do not fit together"):
            kernels.pad(place, np.array([length], dtype=np.uint32), out, row)
    kernels.pad(place, np.array([4], dtype=np.uint32), out, 8)
    assert out.tolist() == [[0, 1, 2, 3, 255, 255, 255, 255]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_image_is_named(varied: Dataset, tmp_path: Any, engine: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(varied.root, copy)
    victim = Dataset(copy).path(int(varied.ids("70-30", "val")[1]))
    (copy / victim).write_bytes(b"no image at all")
    forget_checksums(copy)
    loader = make_loader(Dataset(copy), split="70-30", store="files", engine=engine, part="val", image_size=32)
    with pytest.raises(InputError, match="no longer decodes") as caught:
        list(loader)
    assert victim in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_image_that_was_replaced_by_a_smaller_one_is_named(varied: Dataset, tmp_path: Path, engine: Any) -> None:
    """Its window was planned for the size that it had."""
    copy = Dataset(shutil.copytree(varied.root, tmp_path / "copy"))
    forget_checksums(copy.root)
    victim = copy.root / copy.path(int(copy.ids("70-30", "val")[1]))
    Image.new("RGB", (4, 3)).save(victim)
    loader = make_loader(Dataset(copy.root), split="70-30", store="files", engine=engine, part="val", image_size=32)
    with pytest.raises(InputError, match=f"{victim.name} .*: has 4x3 pixels, and had "):
        list(loader)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", HOST_STORES)
def test_a_flipped_bit_is_found_when_it_is_read(dataset: Dataset, tmp_path: Path, name: Any, engine: Any) -> None:
    """Though the image may still decode."""
    copy, victim = tmp_path / "copy", int(dataset.ids("official", "train")[70])
    shutil.copytree(dataset.root, copy)
    if name == "files":
        flip_bit(copy / dataset.path(victim), 600)
    else:
        row = np.load(copy / f"packs/{name}/index.npy")[victim]
        flip_bit(copy / f"packs/{name}/00000.bin", int(row["offset"]) + 600)
    loader = make_loader(Dataset(copy), split="official", batch_size=8, store=name, engine=engine)
    for _ in range(2):
        with pytest.raises(InputError, match=r"bytes .*are not those that were written; see what else") as caught:
            list(loader)
        assert f"{dataset.path(victim)} (image {victim}): " in str(caught.value)
        assert f"python -m feedline verify {copy}, then build the dataset again" in str(caught.value)
    val = make_loader(Dataset(copy), split="official", store=name, engine=engine, part="val")
    assert sum(len(labels) for _, labels in val) == 32


@pytest.mark.parametrize("name", HOST_STORES)
def test_each_image_is_compared_once(dataset: Dataset, tmp_path: Path, name: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    store = opened(name, Dataset(copy))
    store.read(np.arange(10))
    flip_bit(copy / dataset.path(3), 600)
    for kind in ("raw", "jpeg"):
        flip_bit(copy / f"packs/{kind}/00000.bin", int(np.load(copy / f"packs/{kind}/index.npy")["offset"][3]) + 600)
    store.read(np.arange(10))
    with pytest.raises(InputError, match=r"\(image 3\)"):
        opened(name, Dataset(copy)).read(np.arange(10))


@pytest.mark.parametrize("name", HOST_STORES)
def test_a_dataset_without_checksums_is_read(dataset: Dataset, tmp_path: Path, name: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    forget_checksums(copy)
    before, after = (opened(name, d).read(np.arange(128)) for d in (dataset, Dataset(copy)))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def test_an_image_of_another_size_is_named(dataset: Dataset, tmp_path: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    Image.new("RGB", (32, 32)).save(copy / dataset.path(0))
    forget_checksums(copy)
    with pytest.raises(InputError, match="32x32") as caught:
        list(make_loader(Dataset(copy), store="files", engine="torch", batch_size=96))
    assert dataset.path(0) in str(caught.value)


def test_a_missing_image_is_named(dataset: Dataset, tmp_path: Any) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset.root, copy)
    (copy / dataset.path(0)).unlink()
    loader = make_loader(Dataset(copy), store="files", engine="torch", batch_size=96)
    with pytest.raises(InputError, match="No such file") as caught:
        list(loader)
    assert dataset.path(0) in str(caught.value)


def test_resident_on_a_cpu_is_raw_and_is_logged_once(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    opened = Dataset(dataset.root)  # no other test has made a loader of it
    loader, val = (make_loader(opened, store="resident", engine="torch", part=part) for part in ("train", "val"))
    assert loader.store_name == val.store_name == "raw"
    (line,) = caplog.messages
    assert line.startswith("store: raw, because resident keeps pixels in a GPU's memory")
    for (a, _), (b, _) in zip(epoch(loader), epoch(make_loader(dataset, store="raw", engine="torch")), strict=True):
        assert torch.equal(a, b)
    assert len(caplog.messages) == 1


def test_the_named_store_is_taken(dataset: Dataset, caplog: pytest.LogCaptureFixture) -> None:
    for name in HOST_STORES:
        assert resolve_store(name, dataset, CPU) == name
    assert resolve_store("auto", dataset, CPU) == "raw"
    assert resolve_store("resident", dataset, torch.device("cuda")) == "resident"
    assert not caplog.messages


def test_images_of_all_sizes_cannot_be_resident(varied: Dataset) -> None:
    with pytest.raises(InputError, match="store=resident: needs images of one size, here they vary; use store=raw"):
        open_store("resident", varied, CPU)


@pytest.mark.gpu
def test_loaders_of_a_dataset_share_the_resident_pixels(dataset: Dataset) -> None:
    open_store("resident", dataset, torch.device("cuda"))
    before = torch.cuda.memory_allocated()
    open_store("resident", dataset, torch.device("cuda"))
    assert torch.cuda.memory_allocated() == before
