import gc
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from feedline import Dataset, InputError, LoaderOptions
from feedline.pipeline.image_sizes import ImageSizes
from tests.pipeline.loading import ENGINES, epoch, make_loader

SCHEDULE = "16@0,24@2,32@3"


def test_a_side_holds_from_its_epoch_on() -> None:
    sizes = ImageSizes.parse("24@0, 32@4,40@14")
    assert [sizes.at(epoch) for epoch in (0, 3, 4, 13, 14, 99)] == [24, 24, 32, 32, 40, 40]
    assert sizes.last == 40
    assert str(sizes) == "24x24, 32x32 from epoch 5, 40x40 from epoch 15"


@pytest.mark.parametrize(
    ("value", "kept"),
    [(32, 32), ("32", 32), ("32@0", 32), (" 24@0 , 32@4 ", "24@0,32@4"), ("24@0,24@2,32@4", "24@0,32@4"), (None, None)],
)
def test_options_keep_the_shortest_form(value: Any, kept: Any) -> None:
    assert LoaderOptions(image_size=value).image_size == kept


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("big", "a whole number of pixels, or sides by epoch as 24@0,32@4"),
        ("", "a whole number of pixels"),
        ("24@0,", "a whole number of pixels"),
        ("24,32@4", "a whole number of pixels"),
        ("24@0,32", "a whole number of pixels"),
        ("24@0,32@-4", "a whole number of pixels"),
        ("24@0,32@4.5", "a whole number of pixels"),
        ("24@1,32@4", "a side for the first epoch too, as 24@0"),
        ("24@0,32@4,40@4", "in the order of the epochs"),
        ("24@0,40@9,32@4", "in the order of the epochs"),
        ("7@0,32@4", "at least 8"),
        (-32, "a whole number of pixels"),
        (0, "at least 8"),
        ("16@0,9000@1", "at least 8 and at most 8192"),
    ],
)
def test_another_schedule_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        LoaderOptions(image_size=value)
    assert caught.value.message.startswith(f"`image_size={value}`: must be {message}")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
@pytest.mark.parametrize("augment", ["pad-crop:2", "random-resized-crop"])
def test_an_epoch_has_the_batches_of_a_loader_of_its_size(
    dataset: Dataset, engine: Any, store: Any, augment: str
) -> None:
    """In any order of the epochs, from any batch on."""
    options: dict[str, Any] = {"engine": engine, "store": store, "augment": (augment, "flip")}
    loader = make_loader(dataset, image_size=SCHEDULE, **options)
    fixed = {side: make_loader(dataset, image_size=side, **options) for side in (16, 24, 32)}
    for number, side in ((1, 16), (2, 24), (3, 32), (0, 16)):
        for (images, labels), (same, same_labels) in zip(
            epoch(loader, number), epoch(fixed[side], number), strict=True
        ):
            assert images.shape[2:] == (side, side) == loader.output(number)
            assert torch.equal(images, same)
            assert torch.equal(labels, same_labels)
    loader.set_epoch(2, first=3)
    ((images, _),) = list(loader)
    assert torch.equal(images, epoch(fixed[24], 2)[3][0])


def test_sizes_change_without_set_epoch(dataset: Dataset) -> None:
    loader = make_loader(dataset, image_size="16@0,24@2", engine="torch")
    assert [next(iter(list(loader)))[0].shape[2] for _ in range(4)] == [16, 16, 24, 24]


def test_a_loop_left_before_another_size(dataset: Dataset) -> None:
    loader = make_loader(dataset, image_size="16@0,24@1", engine="torch")
    first = iter(loader)
    next(first)
    assert epoch(loader, 1)[0][0].shape[2] == 24
    with pytest.raises(RuntimeError, match="one runs at a time"):
        next(first)


@pytest.mark.parametrize("augment", ["pad-crop:4", "random-resized-crop", "center:0.5"])
def test_order_and_windows_do_not_depend_on_the_size(varied: Dataset, dataset: Dataset, augment: str) -> None:
    for data, split in ((dataset, "official"), (varied, "70-30")):
        options: dict[str, Any] = {"split": split, "batch_size": 8, "augment": (augment, "flip")}
        if data is varied and augment == "pad-crop:4":
            continue  # its window is the image
        plans = [make_loader(data, image_size=size, **options).plan for size in ("16@0,48@5", 40, 16)]
        for k in range(len(plans[0])):
            batches = [plan.batch(3, k) for plan in plans]
            for name in ("ids", "window", "flip"):
                assert np.array_equal(getattr(batches[0], name), getattr(batches[1], name))
                assert np.array_equal(getattr(batches[0], name), getattr(batches[2], name))


def test_val_has_the_last_size_in_every_epoch(dataset: Dataset) -> None:
    loader = make_loader(dataset, image_size=SCHEDULE, part="val")
    assert {images.shape[2:] for number in (0, 1) for images, _ in epoch(loader, number)} == {(32, 32)}
    assert make_loader(dataset, image_size=SCHEDULE).eval_output == loader.output(0) == (32, 32)
    assert make_loader(dataset).eval_output == (64, 64), "the images' own"


@pytest.mark.parametrize("engine", ENGINES)
def test_no_thread_of_another_size_is_left(dataset: Dataset, engine: Any) -> None:
    loader = make_loader(dataset, image_size="16@0,24@1,32@2,40@3,48@4", engine=engine)
    gc.collect()  # loaders of other tests
    threads = []
    for number in range(5):
        epoch(loader, number)
        threads.append(len(list(Path("/proc/self/task").iterdir())))
    # One left of each size would be four more; the system may still count one that is just ending.
    assert max(threads) - threads[0] < 4, threads
    before = set(threading.enumerate())
    loader.close()
    assert not set(threading.enumerate()) - before


def test_ranks_share_the_batches_of_each_size(dataset: Dataset) -> None:
    options: dict[str, Any] = {"engine": "torch", "image_size": SCHEDULE}
    whole = make_loader(dataset, **options)
    ranks = [make_loader(dataset, rank=rank, world_size=2, **options) for rank in range(2)]
    for number in (1, 2):
        for (images, _), *shares in zip(epoch(whole, number), *(epoch(r, number) for r in ranks), strict=True):
            assert torch.equal(torch.cat([images for images, _ in shares]), images)


def test_val_may_have_a_size_of_its_own(dataset: Dataset) -> None:
    for sizes in (None, 16, SCHEDULE):
        loader = make_loader(dataset, image_size=sizes, eval_size=40, part="val")
        assert epoch(loader)[0][0].shape[2:] == (40, 40)
        train = make_loader(dataset, image_size=sizes, eval_size=40)
        assert train.output(0) == ((64, 64) if sizes is None else (16, 16))
        assert train.eval_output == (40, 40)
    with pytest.raises(InputError, match="eval_size=7: must be at least 8"):
        LoaderOptions(eval_size=7)
