from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from feedline import Dataset, InputError
from feedline.pipeline.dataset import Pack, PackWriter
from feedline.pipeline.readahead import runs


@pytest.mark.parametrize("kind", ["jpeg", "raw"])
def test_packs_hold_the_images(dataset: Dataset, kind: str) -> None:
    pack = dataset.pack(kind)
    ids = np.array([100, 0, 57, 127])
    for image, data in zip(ids.tolist(), pack.encoded(ids), strict=True):
        path = dataset.root / dataset.path(image)
        wanted = path.read_bytes() if kind == "jpeg" else Image.open(path).convert("RGB").tobytes()
        assert data.tobytes() == wanted


def one_size(folder: Path, count: int) -> tuple[Pack, NDArray[np.uint8]]:
    """A raw pack of several files."""
    images = np.random.default_rng(1).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    writer = PackWriter(folder, file_bytes=700)
    for image in images:
        writer.add(image.tobytes(), 6, 5)
    assert writer.close()["image_size"] == [6, 5]
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


@pytest.mark.parametrize("single", [False, True])
def test_will_need_takes_any_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, single: bool) -> None:
    pack, _ = one_size(tmp_path / "raw", 40)
    named = []
    monkeypatch.setattr(pack.files, "will_need", lambda *place: named.append(place))
    pack.will_need(*runs(np.array([5, 6, 7, 8, 9, 10, 20, 39, 0]), single=single))
    # Seven images of 90 bytes per file.
    wanted = [(0, 450, 1, 4 * 90), (2, 540, 2, 630), (5, 360, 5, 450), (0, 0, 0, 90)]
    assert named == (wanted if single else wanted[:1])
    Pack(tmp_path / "raw", 40, (6, 5)).will_need(np.array([3]), np.array([24]))


def test_images_of_one_size_in_one_file_are_one_array(dataset: Dataset, tmp_path: Path) -> None:
    pack = dataset.pack("raw")
    images = pack.as_array()
    assert images is not None
    assert images.shape == (128, 64, 64, 3)
    assert np.array_equal(images[77], pack.pixels(np.array([77]))[0])
    assert one_size(tmp_path / "raw", 40)[0].as_array() is None, "several files"


def test_images_of_different_sizes_have_no_array(varied: Dataset) -> None:
    pack = varied.pack("raw")
    assert pack.size is None
    assert pack.as_array() is None
    ids = np.array([3, 0, 9])
    assert pack.sizes(ids).tolist() == varied.sizes[ids].tolist()
    assert [image.shape[:2] for image in pack.pixels(ids)] == [tuple(size) for size in pack.sizes(ids).tolist()]


def test_an_index_that_points_outside_its_data_is_refused(copy: Path) -> None:
    data = next((copy / "packs/jpeg").glob("*.bin"))
    data.write_bytes(data.read_bytes()[:-10])
    pack = Dataset(copy).pack("jpeg")
    with pytest.raises(InputError, match="points outside"):
        pack.encoded(np.array([127]))
