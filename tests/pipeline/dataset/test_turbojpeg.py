"""The system's libturbojpeg, where there is one."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from feedline import Dataset, InputError
from feedline.pipeline import compiled
from feedline.pipeline.dataset import turbojpeg
from feedline.pipeline.stores import FilesStore, JpegStore


@pytest.fixture
def library(needs_kernels: None) -> Any:
    found = turbojpeg.functions()
    if found is None:
        pytest.skip("no libturbojpeg on this machine")
    return found


def gathered(store: JpegStore | FilesStore, ids: list[int]) -> Any:
    out = np.zeros((len(ids), 64, 64, 3), dtype=np.uint8)
    store.gather(np.array(ids), out)
    return out


def test_pixels_are_those_of_pillow(library: Any, dataset: Dataset) -> None:
    ids = list(range(dataset.count))
    for image, pixels in zip(ids, gathered(JpegStore(dataset), ids), strict=True):
        assert (pixels == np.asarray(Image.open(dataset.root / dataset.path(image)).convert("RGB"))).all()


def test_files_are_decoded_by_it_too(library: Any, dataset: Dataset) -> None:
    ids = list(range(dataset.count))
    assert (gathered(FilesStore(dataset), ids) == gathered(JpegStore(dataset), ids)).all()


def test_the_same_without_it(library: Any, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with_it = gathered(JpegStore(dataset), [5, 3, 99])
    monkeypatch.setattr(turbojpeg, "functions", lambda: None)
    assert (gathered(JpegStore(dataset), [5, 3, 99]) == with_it).all()


def test_it_is_not_used_without_the_kernel(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "kernels", None)
    assert turbojpeg.functions() is None
    assert gathered(JpegStore(dataset), [1]).any()


@pytest.mark.parametrize("place", [0, 40, 89])
def test_an_image_that_was_damaged_is_named(library: Any, dataset: Dataset, tmp_path: Path, place: int) -> None:
    copy = Path(shutil.copytree(dataset.root, tmp_path / "copy"))
    (pack,) = (copy / "packs/jpeg").glob("*.bin")
    index = np.load(copy / "packs/jpeg/index.npy")[place]
    data = bytearray(pack.read_bytes())
    data[index["offset"] + 2 : index["offset"] + index["length"] // 2] = bytes(index["length"] // 2 - 2)
    pack.write_bytes(data)
    store = JpegStore(Dataset(copy))
    good = [i for i in range(90) if i != place]
    assert (gathered(store, good) == gathered(JpegStore(dataset), good)).all()
    with pytest.raises(InputError, match=dataset.path(place)):
        gathered(store, list(range(90)))


def test_an_image_of_another_size_is_not_written_over_the_next(library: Any) -> None:
    blobs = []
    for size in ((20, 10), (20, 10), (21, 10)):
        file = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        blobs.append(np.frombuffer(simplejpeg.encode_jpeg(file, colorsubsampling="420"), dtype=np.uint8))
    places = np.array([blob.ctypes.data for blob in blobs], dtype=np.uint64)
    lengths = np.array([len(blob) for blob in blobs], dtype=np.uint32)
    out = np.full((3, 10, 20, 3), 7, dtype=np.uint8)
    assert turbojpeg.decode_at(library, places, lengths, out) == 2
    assert (out[2] == 7).all()
    with pytest.raises(ValueError, match="do not fit together"):
        turbojpeg.decode_at(library, places, lengths[:2], out)
