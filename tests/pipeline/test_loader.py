import gc
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from feedline import Dataset, InputError, Loader
from tests.pipeline.loading import DEVICES, ENGINES, all_differ, epoch, make_loader


@pytest.mark.parametrize("engine", ENGINES)
def test_three_epochs_of_exactly_len_batches(dataset: Dataset, engine: Any) -> None:
    loader = make_loader(dataset, engine=engine)
    seen = [[labels.tolist() for _, labels in loader] for _ in range(3)]
    assert [len(epoch) for epoch in seen] == [len(loader)] * 3 == [4] * 3
    assert all_differ(seen), "without set_epoch, each loop is the next epoch"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("device", DEVICES)
def test_a_loader_stopped_in_mid_epoch_can_be_used_again(dataset: Dataset, engine: Any, device: str) -> None:
    loader = make_loader(dataset, engine=engine, device=device, store="raw")
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
def test_an_epoch_can_start_at_any_batch(dataset: Dataset, engine: Any) -> None:
    loader = make_loader(dataset, engine=engine)
    whole = epoch(loader, 2)
    loader.set_epoch(2, first=2)
    rest = list(loader)
    assert len(rest) == 2
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(rest, whole[2:], strict=True))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", ["jpeg", "raw"])
def test_batches_that_are_kept_do_not_change(dataset: Dataset, engine: Any, store: Any) -> None:
    """The engine does not reuse the memory of a tensor that still exists."""
    loader = make_loader(dataset, engine=engine, store=store, batch_size=8)
    kept, copies = [], []
    for _ in range(4):
        for images, _ in loader:
            kept.append(images)
            copies.append(images.clone())
    gc.collect()
    assert all(torch.equal(a, b) for a, b in zip(kept, copies, strict=True))


def test_no_thread_is_left_behind(dataset: Dataset) -> None:
    before = set(threading.enumerate())
    for engine in ENGINES:
        loader = make_loader(dataset, engine=engine)
        next(iter(loader))
        list(loader)
        loader.close()
    gc.collect()
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_may_end_in_mid_epoch(dataset: Dataset, engine: str) -> None:
    program = (
        "import sys\n"
        "from feedline import Dataset, Loader\n"
        f"loader = Loader(Dataset({str(dataset.root)!r}), engine={engine!r}, batch_size=8, split='official')\n"
        "batches = iter(loader)\n"
        "next(batches)\n"
        "print('nvidia.dali' in sys.modules)\n"
        "raise ValueError('a bug of the user')\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == "ValueError: a bug of the user"
    assert ended.stdout == f"{engine == 'dali'}\n", "the torch engine does not import DALI, which takes seconds"


def test_a_second_loop_ends_the_first(dataset: Dataset) -> None:
    loader = make_loader(dataset, engine="torch")
    first = iter(loader)
    next(first)
    assert len(list(loader)) == 4
    with pytest.raises(RuntimeError, match="one runs at a time"):
        next(first)


@pytest.mark.parametrize("engine", ENGINES)
def test_classes_keeps_the_first_ones(dataset: Dataset, engine: Any) -> None:
    loader = make_loader(dataset, engine=engine, classes=2, part="val")
    labels = torch.cat([labels for _, labels in loader])
    assert len(labels) == loader.images == 16
    assert set(labels.tolist()) == {0, 1}


def test_ranks_see_the_global_batches(dataset: Dataset) -> None:
    whole = epoch(make_loader(dataset, engine="torch"))
    ranks = [epoch(make_loader(dataset, engine="torch", rank=r, world_size=2)) for r in range(2)]
    for (images, labels), (a, la), (b, lb) in zip(whole, *ranks, strict=True):
        assert torch.equal(torch.cat([a, b]), images)
        assert torch.equal(torch.cat([la, lb]), labels)


def test_mean_and_std_are_used(dataset: Dataset) -> None:
    loader = make_loader(
        dataset, engine="dali", store="raw", mean=dataset.mean, std=dataset.std, part="train", augment=("flip",)
    )
    pixels = torch.cat([images for images, _ in loader])
    assert abs(pixels.mean()) < 0.05
    assert abs(pixels.std() - 1) < 0.05


@pytest.mark.parametrize("store", ["files", "jpeg", "raw"])
def test_a_shuffle_by_blocks_covers_every_image(dataset: Dataset, store: Any) -> None:
    options: dict[str, Any] = {"store": store, "engine": "torch", "batch_size": 16, "shuffle": "blocks"}
    loader = make_loader(dataset, shuffle_block=7, shuffle_group=3, **options)
    seen = np.concatenate([loader.plan.batch(0, k).ids for k in range(len(loader))])
    assert sorted(seen.tolist()) == sorted(loader.plan.ids.tolist())
    for k, (images, labels) in enumerate(epoch(loader)):
        assert labels.tolist() == dataset.labels[loader.plan.batch(0, k).ids].tolist()
        assert len(images) == 16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "60-40"}, "`split=60-40`: .* official, 70-30"),
        ({"classes": 9}, "`classes=9`: .* has 4 classes"),
        ({"batch_size": 1000}, "`batch_size=1000`: only 96 images to train on; make it smaller"),
        ({"store": "tape"}, "`store=tape`: must be auto or files or jpeg or raw or resident"),
        ({"engine": "steam"}, "`engine=steam`: must be auto or dali or torch"),
    ],
)
def test_wrong_options_are_refused(dataset: Dataset, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_loader(dataset, **changes)
    assert re.search(message, caught.value.message)


def test_an_epoch_has_no_batch_after_its_last(dataset: Dataset) -> None:
    loader = make_loader(dataset)
    loader.set_epoch(0, first=4)
    assert list(loader) == []
    for first in (5, -1):
        with pytest.raises(InputError, match="must be a batch of the epoch, of which there are 4"):
            loader.set_epoch(0, first=first)


def test_the_next_epoch_may_be_chosen_in_a_loop(dataset: Dataset) -> None:
    loader = make_loader(dataset, engine="torch")
    for _ in loader:
        loader.set_epoch(5)
    labels = [labels.tolist() for _, labels in loader]
    assert labels == [labels.tolist() for _, labels in epoch(make_loader(dataset, engine="torch"), 5)]


def test_a_rank_without_a_share_has_one_batch_less(dataset: Dataset) -> None:
    """33 images in batches of 16 leave one image for two ranks."""
    ids = dataset.ids("official", "train").copy()[:33]
    dataset = Dataset(dataset.root)
    dataset.ids = lambda *_: ids  # type: ignore[method-assign]
    ranks = [make_loader(dataset, part="val", batch_size=16, rank=rank, world_size=2) for rank in range(2)]
    assert [loader.batches for loader in ranks] == [3, 3]
    assert [len(loader) for loader in ranks] == [2, 3]
    assert [sum(len(labels) for _, labels in loader) for loader in ranks] == [16, 17]


def sides(loader: Loader) -> NDArray[np.int64]:
    """Height and width of all windows of an epoch."""
    return np.concatenate([loader.plan.batch(0, k).window for k in range(len(loader))])[:, 2:].astype(np.int64)


def test_scale_and_ratio_of_a_crop_reach_the_windows(dataset: Dataset) -> None:
    windows = sides(make_loader(dataset, augment=("random-resized-crop:scale=0.25-0.5:ratio=1-1", "flip")))
    assert (windows[:, 0] == windows[:, 1]).all()
    assert 31 <= windows.min() < 35
    assert 43 < windows.max() <= 46


def test_the_fraction_of_a_crop_reaches_the_windows(dataset: Dataset, varied: Dataset) -> None:
    assert np.unique(sides(make_loader(dataset, augment=("center:0.5",)))).tolist() == [32]
    assert np.unique(sides(make_loader(dataset, part="val"))).tolist() == [64], "the whole image if all have one size"
    assert np.unique(sides(make_loader(dataset, part="val", crop_fraction=0.25))).tolist() == [16]
    loader = make_loader(varied, split="70-30", part="val", batch_size=4)
    shortest = varied.sizes[loader.plan.ids].min(axis=1)
    assert sides(loader)[:, 0].tolist() == np.rint(0.875 * shortest).tolist(), "7/8 if sizes vary"


def test_the_padding_of_a_crop_reaches_the_windows(dataset: Dataset) -> None:
    for augment, reach in ((("pad-crop:2",), 2), (("auto-crop:7",), 7), (("auto-crop",), 4), ((), 0)):
        loader = make_loader(dataset, augment=augment)
        corners = np.concatenate([loader.plan.batch(0, k).window for k in range(len(loader))])[:, :2]
        assert [corners.min(), corners.max()] == [-reach, reach]
        assert not any(loader.plan.batch(0, k).flip.any() for k in range(len(loader)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("augment", [(), ("flip",), ("center:0.5", "flip"), ("random-resized-crop",)])
def test_any_list_of_augmentations_makes_batches(dataset: Dataset, engine: Any, augment: Any) -> None:
    batches = epoch(make_loader(dataset, engine=engine, augment=augment, store="raw"))
    assert [images.shape for images, _ in batches] == [(20, 3, 64, 64)] * 4
    assert all(torch.isfinite(images).all() for images, _ in batches)
