"""MNIST, and what comes in its format."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torchvision
from numpy.typing import NDArray

from feedline import Dataset
from feedline.pipeline.dataset.decode import decode
from tests.conftest import convert
from tests.convert.helpers import file_digests, refusal


def idx(array: NDArray[np.uint8]) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.tobytes()


def save(folder: Path, *, packed: bool, prefix: str = "") -> Path:
    """Ten classes, 40 train and 20 test images of noise, as torchvision's `MNIST/raw` has them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for part, count in (("train", 40), ("t10k", 20)):
        contents = {
            "images-idx3": rng.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            "labels-idx1": np.arange(count, dtype=np.uint8) % 10,
        }
        for kind, array in contents.items():
            path = folder / f"{prefix}{part}-{kind}-ubyte"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_pixels_and_labels_are_those_that_torchvision_reads(tmp_path: Path, packed: bool) -> None:
    save(tmp_path / "MNIST/raw", packed=packed)
    save(tmp_path / "MNIST/raw", packed=False)  # torchvision has unpacked them beside
    dataset = convert(tmp_path / "MNIST", tmp_path / "out", "--workers", "2")
    parts = [torchvision.datasets.MNIST(str(tmp_path), train=train) for train in (True, False)]
    images = [(image, label) for part in parts for image, label in part]
    assert dataset.count == len(images) == 60
    for number, (image, label) in enumerate(images):
        pixels = decode((dataset.root / dataset.path(number)).read_bytes()).pixels
        np.testing.assert_array_equal(pixels[..., 0], np.asarray(image))
        assert dataset.labels[number] == label
    assert [c.words for c in dataset.classes] == [str(number) for number in range(10)]
    assert dataset.splits["70-30"]["test"] == 20


def test_packed_or_not_is_the_same(tmp_path: Path) -> None:
    first = convert(save(tmp_path / "a", packed=True), tmp_path / "out-a")
    second = convert(save(tmp_path / "b", packed=False), tmp_path / "out-b")
    assert file_digests(first) == file_digests(second)


def test_fashion_mnist_has_its_names(tmp_path: Path) -> None:
    dataset: Dataset = convert(save(tmp_path / "FashionMNIST/raw", packed=True).parent, tmp_path / "out")
    assert [c.words for c in dataset.classes] == torchvision.datasets.FashionMNIST.classes


def test_several_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As EMNIST comes."""
    for name in ("emnist-digits-", "emnist-letters-"):
        save(tmp_path / "raw", packed=True, prefix=name)
    line = refusal(capsys, tmp_path / "raw", tmp_path / "out")
    assert "holds several sets of images (emnist-digits, emnist-letters); give a folder with one of them" in line


@pytest.mark.parametrize("keep", [0, 3, 10, 500])
def test_a_file_that_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: int) -> None:
    for packed, suffix in ((True, ".gz"), (False, "")):
        folder = save(tmp_path / f"raw{suffix}", packed=packed)
        path = folder / f"train-images-idx3-ubyte{suffix}"
        path.write_bytes(path.read_bytes()[:keep])
        line = refusal(capsys, folder, tmp_path / "out")
        assert f"{path.name}: " in line
        assert "download it again" in line


def test_images_and_labels_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "raw", packed=False)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(39, np.uint8)))
    assert "40 images, but 39 labels" in refusal(capsys, folder, tmp_path / "out")


def test_one_file_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save(tmp_path / "raw", packed=True)
    line = refusal(capsys, folder / "train-images-idx3-ubyte.gz", tmp_path / "out")
    assert "one file of MNIST's format; give the folder with its images and labels" in line


@pytest.mark.parametrize("shape", [(0, 28, 28), (40, 28, 0)])
def test_files_without_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, int, int]) -> None:
    save(tmp_path / "x", packed=False)
    (tmp_path / "x/train-images-idx3-ubyte").write_bytes(idx(np.zeros(shape, np.uint8)))
    (tmp_path / "x/train-labels-idx1-ubyte").write_bytes(idx(np.zeros(shape[0], np.uint8)))
    assert "train-images-idx3-ubyte: holds no pixels" in refusal(capsys, tmp_path / "x", tmp_path / "out")


@pytest.mark.parametrize("packed", [True, False])
def test_test_images_without_labels_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    for path in save(tmp_path / "x", packed=packed).glob("t10k-labels*"):
        path.unlink()
    assert convert(tmp_path / "x", tmp_path / "out").count == 40
    assert "20 images without labels beside them" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--image-column", "--label-column"])
def test_it_has_no_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str) -> None:
    line = refusal(capsys, save(tmp_path / "raw", packed=False), tmp_path / "out", flag, "label")
    assert line == f"build.py: {flag} label: this source has no columns; leave it out"
