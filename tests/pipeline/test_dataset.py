import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from feedline.pipeline import Dataset, InputError
from feedline.pipeline.dataset import Pack, PackWriter
from feedline.pipeline.stores import choose_store


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_packs_hold_the_images(dataset: Dataset, kind: str) -> None:
    pack = dataset.pack(kind)
    ids = np.array([100, 0, 57, 127])
    for image, data in zip(ids.tolist(), pack.encoded(ids), strict=True):
        path = dataset.root / dataset.path(image)
        wanted = path.read_bytes() if kind == "jpeg" else Image.open(path).convert("RGB").tobytes()
        assert data.tobytes() == wanted


@pytest.mark.parametrize("write_bytes", [64, PackWriter.WRITE_BYTES])
def test_a_pack_goes_over_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_bytes: int) -> None:
    monkeypatch.setattr(PackWriter, "WRITE_BYTES", write_bytes)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (int(h), 7, 3), dtype=np.uint8) for h in rng.integers(3, 20, 40)]
    writer = PackWriter(tmp_path / "raw", file_bytes=2000)
    for image in images:
        writer.add(image.tobytes(), *image.shape[:2])
    writer.close()
    files = sorted((tmp_path / "raw").glob("*.bin"))
    assert writer.about() == {"bytes": sum(i.size for i in images), "files": len(files), "image_size": None}
    assert len(files) > 3
    assert all(file.stat().st_size <= 2000 for file in files)
    pack = Pack(tmp_path / "raw", 40, None)
    order = rng.permutation(40)
    for i, pixels in zip(order, pack.pixels(order), strict=True):
        assert np.array_equal(pixels, images[i])


def one_size(folder: Path, count: int) -> tuple[Pack, NDArray[np.uint8]]:
    """A raw pack of several files."""
    images = np.random.default_rng(1).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    writer = PackWriter(folder, file_bytes=700)
    for image in images:
        writer.add(image.tobytes(), 6, 5)
    writer.close()
    assert writer.about()["image_size"] == [6, 5]
    return Pack(folder, count, (6, 5)), images


def test_images_of_one_size_are_gathered_across_files(tmp_path: Path) -> None:
    pack, images = one_size(tmp_path / "raw", 40)
    for ids in (np.random.default_rng(0).permutation(40), np.array([3, 4]), np.array([39])):
        out = np.zeros((len(ids), 6, 5, 3), dtype=np.uint8)
        pack.gather(ids, out)
        assert np.array_equal(out, images[ids])


def test_files_that_are_too_short_are_refused(tmp_path: Path) -> None:
    one_size(tmp_path / "raw", 40)
    last = sorted((tmp_path / "raw").glob("*.bin"))[-1]
    last.write_bytes(last.read_bytes()[:-1])
    with pytest.raises(InputError, match="the files are not 40 images"):
        Pack(tmp_path / "raw", 40, (6, 5)).gather(np.array([0]), np.zeros((1, 6, 5, 3), dtype=np.uint8))
    with pytest.raises(InputError, match="points outside"):
        Pack(tmp_path / "raw", 40, (6, 5)).encoded(np.array([39]))


@pytest.mark.parametrize("large", [False, True])
def test_what_is_expected_can_be_any_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    pack, _ = one_size(tmp_path / "raw", 40)
    told = []
    monkeypatch.setattr(pack, "large", large)
    monkeypatch.setattr(pack, "_expect", lambda *place: told.append(place))
    pack.expect(np.array([5, 6, 7, 8, 9, 10, 20, 39, 0]))
    # Seven images of 90 bytes to a file.
    runs = [(0, 450, 1, 4 * 90), (2, 540, 2, 630), (5, 360, 5, 450), (0, 0, 0, 90)]
    assert told == (runs if large else runs[:1])
    Pack(tmp_path / "raw", 40, (6, 5)).expect(np.arange(3, 25))


def test_auto_takes_the_store_that_memory_can_hold(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")

    def choice(**packs: float) -> str:
        about = {k: {"bytes": int(gib * 2**30), "files": 1, "image_size": [64, 64]} for k, gib in packs.items()}
        monkeypatch.setattr(dataset, "packs", about)
        return choose_store(dataset, cpu)[0]

    assert choice(raw=0.001, jpeg=0.001) == "raw"
    assert choice(raw=10**6, jpeg=10**5) == "jpeg"
    assert choice(raw=10**6) == "raw"
    assert choice(jpeg=1) == "jpeg"
    assert choice() == "files"


def test_file_lists_say_what_the_index_says(dataset: Dataset) -> None:
    for split in dataset.splits:
        for part in ("train", "val"):
            lines = (dataset.root / "lists" / split / f"{part}.txt").read_text().splitlines()
            ids = dataset.ids(split, part)
            assert len(ids) == dataset.splits[split][part]
            assert lines == [f"{dataset.path(i)} {dataset.labels[i]}" for i in ids.tolist()]


def test_dali_reads_the_file_lists(dataset: Dataset) -> None:
    from nvidia.dali import fn, pipeline_def

    @pipeline_def(batch_size=32, num_threads=1, device_id=None)
    def read() -> Any:
        return tuple(
            fn.readers.file(file_root=str(dataset.root), file_list=str(dataset.root / "lists/official/val.txt"))
        )

    pipe = read()
    pipe.build()
    encoded, labels = pipe.run()
    ids = dataset.ids("official", "val")
    assert labels.as_array().ravel().tolist() == dataset.labels[ids].tolist()
    assert encoded.at(5).tobytes() == (dataset.root / dataset.path(ids[5])).read_bytes()


@pytest.fixture
def copy(dataset: Dataset, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset.root, tmp_path / "copy"))


def edit(copy: Path, **changes: Any) -> None:
    path = copy / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "not the description of a dataset"),
        ({"version": 99}, "format version 99"),
        ({"classes": 5}, "TypeError"),
        ({"count": "many"}, "ValueError"),
        ({"splits": {"official": {"train": 1}}}, "KeyError"),
        ({"image_size": []}, "IndexError"),
    ],
)
def test_a_wrong_description_is_refused(copy: Path, changes: dict[str, Any], message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(InputError, match=message) as caught:
        Dataset(copy)
    assert "dataset.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_dataset_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"python convert/build.py --out"):
        Dataset(tmp_path)


@pytest.mark.parametrize("name", ["labels.npy", "sizes.npy", "official-train.npy"])
def test_a_damaged_index_is_refused(copy: Path, name: str) -> None:
    (copy / "index" / name).write_bytes(b"\x93NUMPY junk")
    dataset = Dataset(copy)
    with pytest.raises(InputError, match=name):
        _ = dataset.labels, dataset.sizes, dataset.ids("official", "train")


def test_a_pack_that_was_not_built_says_how_to(copy: Path) -> None:
    edit(copy, packs={})
    with pytest.raises(InputError, match="--packs raw --force"):
        Dataset(copy).pack("raw")


def test_an_index_that_points_outside_its_data_is_refused(copy: Path) -> None:
    data = next((copy / "packs/jpeg").glob("*.bin"))
    data.write_bytes(data.read_bytes()[:-10])
    pack = Dataset(copy).pack("jpeg")
    with pytest.raises(InputError, match="points outside"):
        pack.encoded(np.array([127]))
