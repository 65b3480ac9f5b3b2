import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from feedline.pipeline.augment import Augmentations, ColorJitter, Erasing, Flip, PadCrop
from feedline.pipeline.plan import Mix, MixBatch, Plan, PlanBatch
from feedline.pipeline.plan.batch import join_views
from feedline.pipeline.plan.certificate import certify, scramble
from tests.pipeline.loading import all_differ
from tests.pipeline.plan.test_plan import make

AUGMENT = Augmentations((64, 64), PadCrop(4), Flip(), (ColorJitter(), Erasing(p=0.5)))
MIX = Mix(mixup=0.4, cutmix=1.0, prob=0.8)
ABOUT: dict[str, Any] = {"dataset": "c0ffee", "size": (64, 64)}


def certificate(plan: Plan, k: int = 0, epoch: int = 0, *, mix: Mix | None = None) -> int:
    mixed = None if mix is None else plan.mixing(mix, epoch, k, (64, 64))
    return certify(plan.batch(epoch, k), plan.slots(k), mix=mixed, **ABOUT)


@pytest.mark.parametrize("mix", [None, MIX])
@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_the_certificates_of_ranks_add_up_to_that_of_one_process(world_size: int, mix: Mix | None) -> None:
    whole = make(augment=AUGMENT)
    ranks = [make(augment=AUGMENT, rank=rank, world_size=world_size) for rank in range(world_size)]
    for k in range(len(whole)):
        shares = [certificate(plan, k, 2, mix=mix) for plan in ranks]
        assert sum(shares) % 2**64 == certificate(whole, k, 2, mix=mix)


def test_batches_of_other_steps_epochs_and_seeds_have_other_certificates() -> None:
    plans = [make(augment=AUGMENT, seed=seed) for seed in range(3)]
    assert all_differ([certificate(plan, k, epoch) for plan in plans for epoch in range(3) for k in range(15)])


def test_a_batch_has_the_same_certificate_whenever_it_is_planned() -> None:
    late = make(augment=AUGMENT)
    late.batch(5, 3)
    assert certificate(late, 7, 1) == certificate(make(augment=AUGMENT), 7, 1)


def exchange(array: Any, i: int = 0, j: int = 1) -> Any:
    array = array.copy()
    array[[i, j]] = array[[j, i]]
    return array


def changed(array: Any, index: Any, by: float) -> Any:
    array = array.copy()
    array[index] = not array[index] if array.dtype == bool else array[index] + by
    return array


def edited(batch: PlanBatch, number: int, part: str, index: Any, by: float) -> PlanBatch:
    edits = list(batch.edits)
    edits[number] = dataclasses.replace(edits[number], **{part: changed(getattr(edits[number], part), index, by)})
    return dataclasses.replace(batch, edits=tuple(edits))


CHANGES: dict[str, Callable[[PlanBatch], PlanBatch]] = {
    "an id": lambda b: dataclasses.replace(b, ids=changed(b.ids, 5, 1)),
    "a window's place": lambda b: dataclasses.replace(b, window=changed(b.window, (63, 0), 1)),
    "a window's width": lambda b: dataclasses.replace(b, window=changed(b.window, (0, 3), -1)),
    "a flip": lambda b: dataclasses.replace(b, flip=changed(b.flip, 17, 1)),
    "a color": lambda b: edited(b, 0, "color", (3, 1, 2), 2**-14),
    "a box": lambda b: edited(b, 1, "erase", (3, 2), 1),
    "two images": lambda b: dataclasses.replace(b, ids=exchange(b.ids)),
    "y and x": lambda b: dataclasses.replace(b, window=b.window[:, [1, 0, 2, 3]]),
    "the order of edits": lambda b: dataclasses.replace(b, edits=b.edits[::-1]),
    "an edit fewer": lambda b: dataclasses.replace(b, edits=b.edits[:1]),
    "all edits": lambda b: dataclasses.replace(b, edits=()),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_any_change_of_a_batch_gives_another_certificate(change: Callable[[PlanBatch], PlanBatch]) -> None:
    plan = make(augment=AUGMENT)
    batch, slots = plan.batch(0, 3), plan.slots(3)
    assert certify(change(batch), slots, **ABOUT) != certify(batch, slots, **ABOUT)


def test_whole_images_that_change_places_are_noticed() -> None:
    """The images of a batch and all that is done to them stay the same; only the order is another."""
    plan = make(augment=AUGMENT)
    batch, slots = plan.batch(0, 3), plan.slots(3)
    edits = tuple(type(e)(**{name: exchange(array) for name, array in e.parts.items()}) for e in batch.edits)
    moved = PlanBatch(exchange(batch.ids), exchange(batch.window), exchange(batch.flip), edits)
    assert certify(moved, slots, **ABOUT) != certify(batch, slots, **ABOUT)
    assert certify(moved, exchange(slots), **ABOUT) == certify(batch, slots, **ABOUT), "as a sum it has no order itself"


def test_every_view_of_an_image_is_covered() -> None:
    plan = make(augment=AUGMENT, views=2)
    batch, slots = plan.batch(0, 3), plan.slots(3)
    views = join_views(batch.each_view()[::-1])
    last = dataclasses.replace(batch, window=changed(batch.window, (127, 0), 1))
    assert all_differ([certify(other, slots, **ABOUT) for other in (batch, views, last, batch.each_view()[0])])
    ranks = [make(augment=AUGMENT, views=2, rank=rank, world_size=2) for rank in range(2)]
    assert sum(certificate(rank, 3) for rank in ranks) % 2**64 == certificate(plan, 3)


def test_dataset_size_and_slots_are_covered() -> None:
    plan = make(augment=AUGMENT)
    batch, slots = plan.batch(0, 3), plan.slots(3)
    others = [
        certify(batch, slots, **ABOUT),
        certify(batch, slots, **{**ABOUT, "dataset": "c0ffef"}),
        certify(batch, slots, **{**ABOUT, "size": (32, 128)}),
        certify(batch, plan.slots(4), **ABOUT),
    ]
    assert all_differ(others)


def test_mixing_is_covered() -> None:
    plan = make(augment=AUGMENT)
    batch, slots, mix = plan.batch(0, 3), plan.slots(3), plan.mixing(MIX, 0, 3, (64, 64))
    others: list[MixBatch | None] = [
        None,
        mix,
        MixBatch(changed(mix.share, 7, 2**-10), mix.blend, mix.box),
        MixBatch(mix.share, changed(mix.blend, 0, 2**-10), mix.box),
        MixBatch(mix.share, mix.blend, changed(mix.box, (1, 1), 1)),
        MixBatch(mix.blend, mix.share, mix.box),
    ]
    assert all_differ([certify(batch, slots, mix=other, **ABOUT) for other in others])


def test_the_last_bit_of_a_float_is_not_covered() -> None:
    """On other CPUs numpy's sine and power may round it otherwise."""
    plan = make(augment=AUGMENT)
    batch, slots = plan.batch(0, 3), plan.slots(3)
    color = batch.edits[0].parts["color"].copy()
    color[4, 1, 1] = np.nextafter(color[4, 1, 1], np.float32(9))
    other = dataclasses.replace(batch, edits=(dataclasses.replace(batch.edits[0], color=color), *batch.edits[1:]))
    assert certify(other, slots, **ABOUT) == certify(batch, slots, **ABOUT)


def test_words_are_scrambled_as_splitmix64_does() -> None:
    """The first numbers of the generator for the seed 1234567, as published with it."""
    words = np.uint64(1234567) + np.arange(1, 5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert scramble(words).tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431
    ]  # fmt: skip


def test_certificates_are_the_same_in_every_version() -> None:
    """Logs of other versions are compared with ours: after a change here `VERSION` must be another one."""
    batch = PlanBatch(
        np.array([7, 3]), np.array([[0, -4, 64, 64], [1, 2, 30, 40]], dtype=np.int32), np.array([True, False])
    )
    assert certify(batch, np.array([10, 11]), **ABOUT) == 1232346950012211827
