"""What a loader's options choose: images, targets, views, the batch itself."""

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from feedline import Dataset, InputError, Loader
from tests.pipeline.loading import ENGINES, make_loader

STORES = ["files", "jpeg", "raw"]


def flat(lists: Iterable[list[int]]) -> list[int]:
    return list(itertools.chain.from_iterable(lists))


def ids_of(loader: Loader) -> list[int]:
    return [i for *_, ids in loader for i in ids.tolist()]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("part", ["train", "val"])
def test_ids_say_which_images_a_batch_holds(dataset: Dataset, engine: Any, part: Any) -> None:
    loader = make_loader(dataset, engine=engine, part=part, with_ids=True)
    for images, labels, ids in loader:
        assert ids.dtype == torch.int64
        assert len(images) == len(labels) == len(ids)
        assert labels.tolist() == dataset.labels[ids.numpy()].tolist()
        assert loader.planned is not None
        assert loader.planned.ids.tolist() == ids.tolist()
        ids.zero_()  # it is the caller's own
    assert len(set(ids_of(loader))) == (80 if part == "train" else 32)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dtype": torch.uint8},
        {"dtype": torch.float16},
        {"augment": ("random-resized-crop", "flip", "color-jitter", "erasing:p=1"), "image_size": 40},
        {"augment": ("pad-crop:4", "trivial-augment")},
        {"augment": (), "dtype": torch.uint8},
        {"batch_size": 96, "image_size": 24},
    ],
)
def test_the_first_view_is_that_of_a_loader_with_one(
    dataset: Dataset, engine: Any, store: Any, changes: dict[str, Any]
) -> None:
    options: dict[str, Any] = {"engine": engine, "store": store, **changes}
    one, three = make_loader(dataset, **options), make_loader(dataset, views=3, **options)
    random = bool(changes.get("augment", True))
    for (x, y), (views, labels) in zip(one, three, strict=True):
        assert views.shape == (3, *x.shape)
        assert torch.equal(y, labels)
        assert torch.equal(views[0], x)
        assert torch.equal(views[0], views[1]) is not random
        assert torch.equal(views[1], views[2]) is not random
        assert views[1].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("store", STORES)
def test_views_of_images_of_all_sizes(varied: Dataset, store: Any) -> None:
    batches = {}
    for engine in ENGINES:
        loader = make_loader(
            varied, split="70-30", batch_size=8, engine=engine, store=store, views=2, image_size=32, dtype=torch.uint8
        )
        batches[engine] = list(loader)
    for (ours, _), (dali, _) in zip(*batches.values(), strict=True):
        assert ours.shape == (2, 8, 3, 32, 32)
        assert (ours.int() - dali.int()).abs().float().mean() < 1
        assert not torch.equal(ours[0], ours[1])


def test_views_do_not_depend_on_ranks_or_batches(dataset: Dataset) -> None:
    def pixels(**changes: Any) -> dict[int, torch.Tensor]:
        loader = make_loader(dataset, views=2, with_ids=True, **changes)
        return {i: views[:, k] for views, _, ids in loader for k, i in enumerate(ids.tolist())}

    whole = pixels(batch_size=48)
    parts = {**pixels(rank=0, world_size=2, batch_size=24), **pixels(rank=1, world_size=2, batch_size=24)}
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[i], parts[i]) for i in whole)


def test_a_transform_sees_the_certificate_of_its_batch(dataset: Dataset) -> None:
    seen: list[int] = []

    def look(images: torch.Tensor, labels: torch.Tensor) -> Any:
        seen.append(loader.certificate)
        return images, labels

    loader = make_loader(dataset, transform=look)
    assert [loader.certificate for _ in loader] == seen


@pytest.mark.parametrize("views", [1, 2])
def test_a_certificate_says_what_a_batch_holds(dataset: Dataset, views: int) -> None:
    def certificates(**changes: Any) -> list[int]:
        loader = make_loader(dataset, views=views, **changes)
        with pytest.raises(InputError, match="no batch was taken yet"):
            loader.certificate  # noqa: B018
        return [loader.certificate for _ in loader]

    whole = certificates()
    assert len(set(whole)) == 4
    assert certificates(engine="dali", store="jpeg", threads=1) == whole
    ranks = [certificates(rank=rank, world_size=2) for rank in range(2)]
    assert [(a + b) % 2**64 for a, b in zip(*ranks, strict=True)] == whole
    assert not set(whole) & set(certificates(seed=8))


def test_two_views_unpack(dataset: Dataset) -> None:
    for (a, b), labels in make_loader(dataset, views=2):
        assert a.shape == b.shape == (len(labels), 3, 64, 64)


@pytest.mark.parametrize("engine", ENGINES)
def test_targets_of_any_shape(dataset: Dataset, engine: Any) -> None:
    rng = np.random.default_rng(3)
    for targets, dtype in (
        (rng.random(128), torch.float32),
        (rng.random((128, 2, 2)).astype(np.float32), torch.float32),
        (torch.arange(128), torch.int64),
        (rng.integers(0, 2, (128, 5)).astype(bool), torch.bool),
        ((np.arange(128) % 7).tolist(), torch.int64),
        (np.arange(128).astype(">i2"), torch.int64),
        (np.arange(128).astype(np.uint8), torch.int64),
        (torch.arange(128).bfloat16() / 2, torch.float32),
    ):
        for _, got, ids in make_loader(dataset, engine=engine, targets=targets, with_ids=True):
            assert got.dtype == dtype
            whole = targets if isinstance(targets, torch.Tensor) else torch.tensor(np.asarray(targets).tolist())
            assert torch.equal(got, whole[ids].to(dtype))


def test_a_subset_is_all_that_is_seen(dataset: Dataset) -> None:
    part = make_loader(dataset).dataset.ids
    chosen = part[::3][::-1]
    train = make_loader(dataset, subset=chosen, batch_size=8, with_ids=True)
    assert (train.images, len(train), len(train.dataset)) == (32, 4, 32)
    assert sorted(ids_of(train)) == sorted(chosen.tolist())
    val_ids = make_loader(dataset, part="val").dataset.ids
    val = make_loader(dataset, part="val", subset=torch.from_numpy(val_ids[[5, 2, 9]]), with_ids=True)
    assert ids_of(val) == val_ids[[5, 2, 9]].tolist()


def test_the_held_out_fold_is_evaluated_as_val_is(dataset: Dataset) -> None:
    part = make_loader(dataset).dataset.ids
    held = part[::5]
    val = make_loader(dataset, part="val", subset=held, with_ids=True)
    assert ids_of(val) == held.tolist()
    assert not val.plan.shuffle
    with pytest.raises(InputError, match="is not in part train"):
        make_loader(dataset, subset=make_loader(dataset, part="val").dataset.ids[:9])


def test_a_fraction_is_of_each_class_and_grows(dataset: Dataset) -> None:
    smaller: set[int] = set()
    for fraction, each in ((0.001, 1), (0.25, 6), (0.5, 12), (1.0, 24)):
        loaders = [make_loader(dataset, fraction=fraction, seed=seed, batch_size=4) for seed in (1, 2)]
        assert np.bincount(loaders[0].dataset.targets).tolist() == [each] * 4
        chosen = set(loaders[0].dataset.ids.tolist())
        assert chosen == set(loaders[1].dataset.ids.tolist()), "the same for all seeds"
        assert smaller <= chosen
        smaller = chosen
    assert len(make_loader(dataset, fraction=0.5, classes=2, part="val").dataset) == 8


def test_weights_draw_images_as_often_as_they_say(dataset: Dataset) -> None:
    weights = np.zeros(128)
    part = make_loader(dataset).dataset.ids
    weights[part[:3]] = 1, 2, 5
    loader = make_loader(dataset, weights=weights, batch_size=96, with_ids=True, augment=())
    counts = Counter(i for _ in range(40) for i in ids_of(loader))
    assert set(counts) == set(part[:3].tolist())
    assert sum(counts.values()) == 40 * 96
    shares = [counts[i] / (40 * 96) for i in part[:3].tolist()]
    assert np.allclose(shares, [1 / 8, 2 / 8, 5 / 8], atol=0.03)


def test_an_image_that_is_drawn_twice_has_other_windows(dataset: Dataset) -> None:
    weights = np.zeros(128)
    weights[make_loader(dataset).dataset.ids[0]] = 1
    loader = make_loader(dataset, weights=weights, batch_size=96)
    ((images, labels),) = loader
    assert len(labels.unique()) == 1
    assert len({image.numpy().tobytes() for image in images}) > 50


def test_a_weighted_epoch_is_the_same_on_ranks_and_after_a_stop(dataset: Dataset) -> None:
    def make(**changes: Any) -> Loader:
        return make_loader(dataset, weights=np.arange(128.0), with_ids=True, batch_size=24, **changes)

    whole = [ids.tolist() for *_, ids in make()]
    shares = [[ids.tolist() for *_, ids in make(rank=r, world_size=3)] for r in range(3)]
    assert [flat(parts) for parts in zip(*shares, strict=True)] == whole
    loader = make()
    list(itertools.islice(loader, 2))
    twin = make()
    twin.load_state_dict(loader.state_dict())
    assert [ids.tolist() for *_, ids in twin] == whole[2:]
    assert [ids.tolist() for *_, ids in twin] != whole[2:], "another epoch has other images"


def test_balanced_weights_make_classes_equally_likely(dataset: Dataset) -> None:
    part = make_loader(dataset).dataset
    few = [i for i, y in zip(part.ids.tolist(), part.targets, strict=True) if y or i % 8 == 0]  # class 0 is rare
    loader = make_loader(dataset, subset=few, weights="balanced", batch_size=10)
    counts = Counter(y for _ in range(60) for _, labels in loader for y in labels.tolist())
    assert sorted(counts) == [0, 1, 2, 3]
    assert max(counts.values()) / min(counts.values()) < 1.15


@pytest.mark.parametrize("engine", ENGINES)
def test_a_transform_makes_the_batch(dataset: Dataset, engine: Any) -> None:
    plain = list(make_loader(dataset, engine=engine, with_ids=True))
    loader = make_loader(
        dataset, engine=engine, with_ids=True, transform=lambda x, y, i: {"pixels": 2 * x, "label": y, "image": i}
    )
    for batch, (x, y, i) in zip(loader, plain, strict=True):
        assert torch.equal(batch["pixels"], 2 * x)
        assert torch.equal(batch["label"], y)
        assert torch.equal(batch["image"], i)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subset": [0, 0]}, "subset: an image id comes twice"),
        ({"subset": [1.5]}, "subset: must be image ids, whole numbers in one row, here float64 [1]"),
        ({"subset": np.ones(96, dtype=bool)}, "for a mask take np.flatnonzero(mask)"),
        ({"subset": [[1, 2]]}, "subset: must be image ids"),
        ({"subset": [10**6]}, "subset: image 1000000 is not in part train of split official"),
        ({"subset": []}, "subset: holds no image id"),
        ({"subset": [0], "fraction": 0.1}, "with its classes and fraction"),
        ({"weights": [1e308] * 128}, "weights: must be finite numbers"),
        ({"part": "val", "batch_size": 2, "world_size": 4}, "batch_size=2: must be at least 1 for each of the 4 ranks"),
        ({"subset": "all"}, "subset: must be an array, tensor or list of numbers, here a str"),
        ({"subset": {3, 4}}, "subset: must be an array, tensor or list of numbers, here a set"),
        ({"weights": np.ones(5)}, "weights: 5 rows, but"),
        ({"weights": -np.ones(128)}, "weights: must be finite numbers from 0"),
        ({"weights": [1.0, np.nan]}, "weights: must be finite"),
        ({"weights": np.zeros(128)}, "weights: no image of this part has a weight above 0"),
        ({"weights": "equal"}, "weights=equal: must be balanced, or a number for each image"),
        ({"weights": np.ones(128), "part": "val"}, "part=val: must be train with weights"),
        ({"weights": np.ones(128), "shuffle": "blocks"}, "shuffle=blocks: must be full with weights"),
        ({"targets": np.ones(5)}, "targets: 5 rows, but"),
        ({"targets": ["cat"] * 128}, "targets: must be an array, tensor or list of numbers"),
        ({"targets": [[1], [1, 2]]}, "targets: must be an array, tensor or list of numbers"),
        ({"views": 0}, "views=0: must be at least 1"),
        ({"views": 2, "part": "val"}, "views=2: must be 1 for val"),
        ({"fraction": 0}, "fraction=0.0: must be above 0"),
        ({"fraction": 1.5}, "fraction=1.5: must be above 0"),
        ({"transform": lambda image: image}, "transform: is called with the images and labels of a batch"),
        ({"transform": lambda x, y: (x, y), "with_ids": True}, "is called with the images, labels and ids of a batch"),
        ({"target_transform": int}, "target_transform: say targets"),
        ({"transform": "flip"}, "transform=flip: must be a function"),
        ({"with_ids": 1}, "with_ids=1: must be True or False"),
    ],
)
def test_a_wrong_choice_is_refused(dataset: Dataset, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_loader(dataset, **changes)
    assert message in str(caught.value)
