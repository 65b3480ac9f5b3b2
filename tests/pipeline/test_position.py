"""A loader's state, and what it goes on with."""

import io
import itertools
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from feedline import Dataset, InputError, Loader
from tests.pipeline.loading import ENGINES, make_loader


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def ids(loader: Loader, batches: int | None = None) -> list[list[int]]:
    return [ids.tolist() for _, _, ids in itertools.islice(loader, batches)]


def two_epochs(loader: Loader) -> list[list[int]]:
    return ids(loader) + ids(loader)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=12, deadline=None)
@given(epoch=st.integers(0, 3), taken=st.integers(0, 4), store=st.sampled_from(["raw", "jpeg", "files"]))
def test_the_next_batch_is_the_one_that_the_loop_would_have_seen(
    dataset: Dataset, engine: Any, epoch: int, taken: int, store: Any
) -> None:
    with make_loader(dataset, engine=engine, store=store, with_ids=True) as loader:
        loader.set_epoch(epoch)
        loop = iter(loader)
        for _ in range(taken):
            next(loop)
        state = json.loads(json.dumps(loader.state_dict()))
        rest = [[i.tolist(), x] for x, _, i in loop] + [[i.tolist(), x] for x, _, i in loader]
    with make_loader(dataset, engine=engine, store=store, with_ids=True) as twin:
        twin.load_state_dict(state)
        again = [[i.tolist(), x] for x, _, i in twin] + [[i.tolist(), x] for x, _, i in twin]
    assert len(rest) == len(again) == 4 - taken + 4
    for (images, pixels), (same_images, same_pixels) in zip(rest, again, strict=True):
        assert images == same_images
        assert torch.equal(pixels, same_pixels)


def test_a_state_between_loops_is_the_start_of_the_next(dataset: Dataset) -> None:
    loader = make_loader(dataset, with_ids=True)
    states = [loader.state_dict()]
    for _ in range(2):
        ids(loader)
        states.append(loader.state_dict())
    assert [(s["epoch"], s["batch"]) for s in states] == [(0, 0), (1, 0), (2, 0)]
    loader.set_epoch(7)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (7, 0)
    ids(loader, 3)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (7, 3), "where it was left"
    assert ids(loader)
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (9, 0)


def test_set_epoch_of_the_loaded_epoch_keeps_the_place(dataset: Dataset) -> None:
    """`for epoch in range(start, epochs): loader.set_epoch(epoch)`, as with a DataLoader, must not start over."""
    wanted = make_loader(dataset, with_ids=True)
    whole = [ids(wanted) for _ in range(4)]
    for set_epoch in (lambda loader, e: loader.set_epoch(e), lambda loader, e: loader.sampler.set_epoch(e)):
        loader = make_loader(dataset, with_ids=True)
        loader.set_epoch(2)
        ids(loader, 3)
        twin = make_loader(dataset, with_ids=True)
        twin.load_state_dict(loader.state_dict())
        set_epoch(twin, 2)
        assert ids(twin) == whole[2][3:]
        set_epoch(twin, 2)
        assert ids(twin) == whole[2], "once"
        twin.load_state_dict(loader.state_dict())
        set_epoch(twin, 3)
        assert ids(twin) == whole[3]


def test_a_state_after_the_last_batch_ends_the_epoch(dataset: Dataset) -> None:
    loader = make_loader(dataset, with_ids=True)
    states = [loader.state_dict() for _ in loader]
    twin = make_loader(dataset, with_ids=True)
    twin.load_state_dict(states[-1])
    assert [len(ids(twin)) for _ in range(2)] == [0, 4]
    assert twin.state_dict()["epoch"] == 2


def test_ranks_go_on_where_one_process_stood(dataset: Dataset) -> None:
    one = make_loader(dataset, with_ids=True)
    ids(one, 2)
    state = one.state_dict()
    one.load_state_dict(state)
    rest = two_epochs(one)
    ranks = [make_loader(dataset, with_ids=True, rank=rank, world_size=4) for rank in range(4)]
    for loader in ranks:
        loader.load_state_dict(state)
    shares = [two_epochs(loader) for loader in ranks]
    assert [flat(parts) for parts in zip(*shares, strict=True)] == rest
    assert {json.dumps(loader.state_dict()) for loader in ranks} == {json.dumps(one.state_dict())}


def test_another_batch_size_goes_on_exactly_or_not_at_all(dataset: Dataset) -> None:
    loader = make_loader(dataset, with_ids=True, batch_size=12)
    ids(loader, 4)
    state = loader.state_dict()
    loader.load_state_dict(state)
    rest = flat(ids(loader))
    for size in (6, 16, 24, 48):
        twin = make_loader(dataset, with_ids=True, batch_size=size)
        twin.load_state_dict(state)
        assert flat(ids(twin)) == rest[: 48 // size * size]
    twin = make_loader(dataset, with_ids=True, batch_size=10)
    with pytest.raises(InputError, match=r"48 images of its epoch, inside a batch of 10; use batch_size=12"):
        twin.load_state_dict(state)
    assert twin.state_dict()["batch"] == 0, "it stays where it was"


def test_an_epoch_that_is_over_for_a_larger_batch_is_over(dataset: Dataset) -> None:
    """Behind 88 of 96 images no batch of 40 is left."""
    loader = make_loader(dataset, with_ids=True, batch_size=22)
    ids(loader, 4)
    twin = make_loader(dataset, with_ids=True, batch_size=40)
    twin.load_state_dict(loader.state_dict())
    assert [len(ids(twin)) for _ in range(2)] == [0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 8}, "seed=8: the state is of a loader with seed=7"),
        ({"part": "val"}, "part=val"),
        ({"split": "70-30"}, "split=70-30"),
        ({"classes": 2}, "classes=2"),
        ({"shuffle": "blocks"}, "shuffle=blocks: the state is of a loader with shuffle=full"),
        ({"augment": ()}, "augment=: the state is of a loader with augment=auto-crop,flip"),
        ({"subset": range(60)}, "subset: the state is of a loader with another subset"),
        ({"weights": np.arange(128)}, "weights: the state is of a loader with another weights"),
        ({"views": 2}, "views=2"),
        ({"image_size": 32}, "image_size=32"),
    ],
)
def test_a_state_of_another_stream_is_refused(dataset: Dataset, changes: dict[str, Any], message: str) -> None:
    state = make_loader(dataset).state_dict()
    with pytest.raises(InputError, match=message):
        make_loader(dataset, **changes).load_state_dict(state)


@pytest.mark.parametrize("change", [{"store": "jpeg"}, {"threads": 1}, {"dtype": torch.float16}, {"prefetch": 1}])
def test_what_does_not_change_the_stream_may_change(dataset: Dataset, change: dict[str, Any]) -> None:
    state = make_loader(dataset).state_dict()
    make_loader(dataset, **change).load_state_dict(state)


def test_a_state_of_another_dataset_is_refused(dataset: Dataset, varied: Dataset) -> None:
    state = make_loader(varied, split="70-30", batch_size=4).state_dict()
    with pytest.raises(InputError, match="another dataset"):
        make_loader(dataset, split="70-30", batch_size=4).load_state_dict(state)


@pytest.mark.parametrize(
    "damage",
    [
        {"epoch": "x"},
        {"batch": -1},
        {"batch_size": 0},
        {"epoch": 1.7},
        {"epoch": 2**32},
        {"batch": float("inf")},
        {"version": 9},
        {"stream": 3},
    ],
)
def test_what_is_no_state_is_refused(dataset: Dataset, damage: dict[str, Any]) -> None:
    loader = make_loader(dataset)
    nothing: list[Any] = [None, [], {"epoch": 1, "batch": 0}]
    for state in [{**loader.state_dict(), **damage}, *nothing]:
        with pytest.raises(InputError, match="no state that a loader's state_dict"):
            loader.load_state_dict(state)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_batch_that_a_transform_failed_on_comes_again(dataset: Dataset, engine: Any) -> None:
    calls: list[list[int]] = []

    def fails_once(images: torch.Tensor, labels: torch.Tensor, ids: torch.Tensor) -> Any:
        calls.append(ids.tolist())
        if len(calls) == 3:
            raise KeyboardInterrupt
        return images, labels, ids

    loader = make_loader(dataset, engine=engine, with_ids=True, transform=fails_once)
    with pytest.raises(KeyboardInterrupt):
        ids(loader)
    loader.load_state_dict(loader.state_dict())
    assert ids(loader)[0] == calls[2]


def test_an_epoch_chosen_in_a_loop_is_the_next_one(dataset: Dataset) -> None:
    loader = make_loader(dataset, with_ids=True)
    for _ in loader:
        loader.set_epoch(7)
        assert loader.state_dict()["epoch"] == 0, "the loop goes on"
        break
    assert (loader.state_dict()["epoch"], loader.state_dict()["batch"]) == (7, 0)


def test_numbers_of_numpy_stay_plain_in_the_state(dataset: Dataset) -> None:
    loader = make_loader(dataset)
    loader.set_epoch(np.int64(3))
    json.dumps(loader.state_dict())


def test_nobody_can_change_the_stream_by_accident(dataset: Dataset) -> None:
    chosen = make_loader(dataset).dataset.ids[:40].copy()
    for loader in (make_loader(dataset, fraction=0.5), make_loader(dataset, subset=chosen), make_loader(dataset)):
        with pytest.raises(ValueError, match="read-only"):
            loader.dataset.ids[0] = 1
    loader = make_loader(dataset, subset=chosen, with_ids=True)
    wanted = sorted(chosen.tolist())
    chosen[:] = 0
    assert sorted(flat(ids(loader))) == wanted


def test_an_empty_state_changes_nothing(dataset: Dataset) -> None:
    loader = make_loader(dataset)
    loader.set_epoch(3)
    loader.load_state_dict({})
    assert loader.state_dict()["epoch"] == 3


def test_the_place_is_kept_until_a_loop_starts(dataset: Dataset) -> None:
    loader = make_loader(dataset, with_ids=True)
    ids(loader, 2)
    twin = make_loader(dataset, with_ids=True)
    twin.load_state_dict(loader.state_dict())
    iter(twin)
    twin.sampler.set_epoch(0)
    assert twin.state_dict() == loader.state_dict()


def test_val_goes_on_with_another_batch_size_behind_its_short_last_batch(dataset: Dataset) -> None:
    loader = make_loader(dataset, part="val", with_ids=True)
    state = [loader.state_dict() for _ in loader][-1]
    for size in (8, 20, 50):
        twin = make_loader(dataset, part="val", with_ids=True, batch_size=size)
        twin.load_state_dict(state)
        assert ids(twin) == []
    with pytest.raises(InputError, match="crop_fraction"):
        make_loader(dataset, part="val", crop_fraction=0.5).load_state_dict(state)


def test_torch_can_keep_a_state_and_load_it_safely(dataset: Dataset) -> None:
    loader = make_loader(dataset, subset=np.arange(60))
    file = io.BytesIO()
    torch.save(loader.state_dict(), file)
    file.seek(0)
    loader.load_state_dict(torch.load(file, weights_only=True))
