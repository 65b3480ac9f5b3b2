"""CIFAR-10 and CIFAR-100 become datasets, in the three ways that people have them."""

import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from feedline.pipeline.dataset.decode import decode
from tests.conftest import convert
from tests.convert.helpers import file_digests, refusal

NAMES = ["airplane", "automobile", "bird"]


def batch(seed: int, count: int, **labels: list[int]) -> dict[str, Any]:
    data = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": data, "filenames": ["x.png"] * count, **labels}


def save(folder: Path, **files: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(pickle.dumps(content, protocol=2))
    return folder


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    folder = tmp_path / "data/cifar-10-batches-py"
    save(folder, batches__meta={"label_names": NAMES})
    for number in (1, 2):
        save(folder, **{f"data_batch_{number}": batch(number, 9, labels=[2, 1, 0] * 3)})
    return save(folder, test_batch=batch(3, 6, labels=[0, 1, 2] * 2))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_every_pixel_and_label_arrives(cifar10: Path, tmp_path: Path, workers: str) -> None:
    dataset = convert(cifar10, tmp_path / "out", "--workers", workers)
    assert [c.words for c in dataset.classes] == NAMES
    assert list(dataset.labels) == [2, 1, 0] * 6 + [0, 1, 2] * 2
    assert dataset.splits["70-30"]["test"] == 6
    rows = np.concatenate([batch(seed, count)["data"] for seed, count in ((1, 9), (2, 9), (3, 6))])
    for image, row in enumerate(rows):
        pixels = np.asarray(Image.open(dataset.root / dataset.path(image)))
        np.testing.assert_array_equal(pixels, row.reshape(3, 32, 32).transpose(1, 2, 0))


def test_archive_folder_and_folder_around_it_are_the_same(cifar10: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(cifar10, cifar10.name)
    built = [
        convert(path, tmp_path / f"out{number}")
        for number, path in enumerate((cifar10, cifar10.parent, tmp_path / "cifar-10-python.tar.gz"))
    ]
    assert file_digests(built[0]) == file_digests(built[1]) == file_digests(built[2])
    assert len({dataset.fingerprint for dataset in built}) == 1


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    folder = save(
        tmp_path / "cifar-100-python",
        meta={"fine_label_names": NAMES, "coarse_label_names": ["all"]},
        train=batch(1, 9, fine_labels=[2, 1, 0] * 3, coarse_labels=[0] * 9),
        test=batch(2, 3, fine_labels=[0, 1, 2], coarse_labels=[0] * 3),
    )
    dataset = convert(folder, tmp_path / "out")
    assert [c.words for c in dataset.classes] == NAMES
    assert list(dataset.labels) == [2, 1, 0] * 3 + [0, 1, 2]


class Evil:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch evil",)


@pytest.mark.parametrize("content", [pickle.dumps({"data": Evil()}), b"", b"no pickle", pickle.dumps([1])])
def test_a_file_that_is_no_batch_is_refused(
    cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    (cifar10 / "data_batch_2").write_bytes(content)
    line = refusal(capsys, cifar10, tmp_path / "out")
    assert "data_batch_2: not a file of CIFAR's python version" in line
    assert not (tmp_path / "evil").exists()


def test_a_batch_of_another_shape_is_refused(cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(cifar10, data_batch_2=batch(2, 9, labels=[0] * 8))
    assert "data_batch_2: not a batch of CIFAR" in refusal(capsys, cifar10, tmp_path / "out")


def test_two_sets_in_one_folder(cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(cifar10.parent / "cifar-100-python", meta={}, train={}, test={})
    line = refusal(capsys, cifar10.parent, tmp_path / "out")
    assert "holds cifar-10-batches-py/ and cifar-100-python/; give one of them" in line


def test_an_image_is_decoded_from_the_dataset(cifar10: Path, tmp_path: Path) -> None:
    dataset = convert(cifar10, tmp_path / "out", "--packs", "")
    assert decode((dataset.root / dataset.path(0)).read_bytes()).pixels.shape == (32, 32, 3)


@pytest.mark.parametrize("meta", [{}, {"label_names": None}, {"label_names": [1, 2]}, {"label_names": []}])
def test_names_of_classes_that_are_missing(
    cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], meta: dict[str, Any]
) -> None:
    save(cifar10, batches__meta=meta)
    assert "batches.meta: has no list 'label_names' of the classes' names" in refusal(capsys, cifar10, tmp_path / "out")


@pytest.mark.parametrize("labels", [["a"] * 9, [None] * 9, None])
def test_labels_that_are_no_numbers(
    cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: Any
) -> None:
    save(cifar10, data_batch_2=batch(2, 9, labels=labels))
    assert "data_batch_2: has no list 'labels' of whole numbers" in refusal(capsys, cifar10, tmp_path / "out")


def test_pickles_of_python_3(cifar10: Path, tmp_path: Path) -> None:
    expected = convert(cifar10, tmp_path / "a")
    for path in cifar10.iterdir():
        content = {key.encode(): value for key, value in pickle.loads(path.read_bytes()).items()}
        if b"label_names" in content:
            content[b"label_names"] = [name.encode() for name in NAMES]
        path.write_bytes(pickle.dumps(content, protocol=4))
    assert file_digests(convert(cifar10, tmp_path / "b")) == file_digests(expected)


def test_missing_batches_are_said(cifar10: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cifar10 / "data_batch_2").rename(cifar10 / "data_batch_1.bak")
    (cifar10 / "test_batch").unlink()
    assert convert(cifar10, tmp_path / "out").count == 9
    output = capsys.readouterr().out
    assert "CIFAR-10 without data_batch_2, data_batch_3, data_batch_4, data_batch_5, test_batch" in output
    assert "1 .bak (not an image)" in output
