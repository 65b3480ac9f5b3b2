from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, InputError
from tests.pipeline.dataset.folders import edit


def test_file_lists_and_index_agree(dataset: Dataset) -> None:
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


def test_ids_of_the_first_classes(dataset: Dataset) -> None:
    ids = dataset.ids("official", "train", classes=2)
    assert ids.tolist() == [i for i in dataset.ids("official", "train").tolist() if dataset.labels[i] < 2]
    assert len(ids) == 48


@pytest.mark.parametrize(
    ("split", "part", "classes", "message"),
    [
        ("60-40", "train", None, "`split=60-40`: .* has the splits official, 70-30"),
        ("official", "dev", None, "`part=dev`: choose train, val, test"),
        ("official", "test", None, "`part=test`: .* has no test images"),
        ("official", "val", 0, "`classes=0`: .* has 4 classes"),
        ("official", "val", 5, "`classes=5`: .* has 4 classes"),
    ],
)
def test_unknown_ids_are_refused(dataset: Dataset, split: str, part: str, classes: int | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        dataset.ids(split, part, classes)
    assert caught.match(message.replace("`", ""))
    assert "`" in caught.value.message


def test_a_dataset_says_what_it_is(dataset: Dataset) -> None:
    assert repr(dataset) == f"Dataset({str(dataset.root)!r}: 128 images, 4 classes, packs: jpeg, raw)"
