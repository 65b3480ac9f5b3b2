import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedline import InputError
from feedline.pipeline.augment import (
    Augmentations,
    Center,
    ColorJitter,
    Erasing,
    Flip,
    PadCrop,
    RandAugment,
    RandomResizedCrop,
    TrivialAugment,
    canonical,
    parse,
    resolve_training,
)
from feedline.pipeline.augment.augmentations import AUGMENTATIONS, AutoCrop
from tests.pipeline.augment.drawing import draw


@pytest.mark.parametrize(
    ("item", "wanted"),
    [
        ("pad-crop", PadCrop(4)),
        ("pad-crop:2", PadCrop(2)),
        ("pad-crop:padding=2", PadCrop(2)),
        (" pad-crop:0 ", PadCrop(0)),
        ("auto-crop", AutoCrop(4)),
        ("auto-crop:6", AutoCrop(6)),
        ("random-resized-crop", RandomResizedCrop((0.08, 1), (3 / 4, 4 / 3))),
        ("random-resized-crop:0.25-1", RandomResizedCrop((0.25, 1))),
        ("random-resized-crop:scale=0.25-1:ratio=0.5-2", RandomResizedCrop((0.25, 1), (0.5, 2))),
        ("random-resized-crop:ratio=0.5-2:scale=0.25-1", RandomResizedCrop((0.25, 1), (0.5, 2))),
        ("random-resized-crop:0.25-1:0.5-2", RandomResizedCrop((0.25, 1), (0.5, 2))),
        ("random-resized-crop:ratio=1-1", RandomResizedCrop(ratio=(1, 1))),
        ("center", Center(1)),
        ("center:0.875", Center(0.875)),
        ("center:fraction=0.5", Center(0.5)),
        ("flip", Flip()),
        ("color-jitter", ColorJitter(0.4, 0.4, 0.4, 0)),
        ("color-jitter:0.2:hue=0.1", ColorJitter(0.2, hue=0.1)),
        ("trivial-augment", TrivialAugment()),
        ("rand-augment", RandAugment(2, 9)),
        ("rand-augment:m=15", RandAugment(2, 15)),
        ("erasing", Erasing(0.25, (0.02, 0.33), (0.3, 3.3))),
        ("erasing:p=0.5:scale=0.1-0.2", Erasing(0.5, (0.1, 0.2))),
    ],
)
def test_an_item_is_a_name_and_its_arguments(item: str, wanted: Any) -> None:
    assert parse([item]) == [wanted]


def test_a_name_alone_gives_the_defaults() -> None:
    for name, kind in AUGMENTATIONS.items():
        assert parse([name]) == [kind()]
        assert kind.name == name


def test_a_list_keeps_its_order_and_may_be_empty() -> None:
    assert parse(["flip", "center:0.5"]) == [Flip(), Center(0.5)]
    assert parse([]) == []


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["blur"], "`augment=blur`: there is no 'blur'; choose from auto-crop, pad-crop, random-resized-crop, center"),
        ([""], "there is no ''"),
        (["flip,center"], "there is no 'flip,center'"),
        (["pad-crop:four"], "`augment=pad-crop:four`: 'four' is not a number, as 4"),
        (["pad-crop:4.5"], "'4.5' is not a number, as 4"),
        (["pad-crop:"], "'' is not a number"),
        (["center:wide"], "'wide' is not a number, as 1.0"),
        (["random-resized-crop:0.5"], "'0.5' is not a range, as 0.08-1"),
        (["random-resized-crop:scale=a-b"], "'a-b' is not a range"),
        (["random-resized-crop:scale=0.1-0.2-0.3"], "'0.1-0.2-0.3' is not a range"),
        (["random-resized-crop:scale=0-1"], "the scale must be a range in 0..1"),
        (["random-resized-crop:ratio=2-1"], "the ratio must be a range in 0.01..100"),
        (["pad-crop:-1"], "`augment=pad-crop:-1`: the padding must be at least 0"),
        (["auto-crop:-1"], "the padding must be at least 0"),
        (["center:1.5"], "the fraction must be above 0"),
        (["pad-crop:4:5"], "`augment=pad-crop:4:5`: pad-crop takes padding"),
        (["pad-crop:padding=4:padding=5"], "pad-crop takes padding"),
        (["pad-crop:margin=4"], "pad-crop takes padding"),
        (["random-resized-crop:0.1-1:scale=0.2-1"], "random-resized-crop takes scale, ratio"),
        (["flip:0.5"], "`augment=flip:0.5`: flip takes no argument"),
        (["pad-crop", "center"], "`augment=pad-crop,center`: pad-crop and center; one crop at most"),
        (["center", "flip", "center"], "center and center; one crop at most"),
        (["flip", "flip"], "`augment=flip,flip`: flip and flip; one flip at most"),
        (["erasing", "color-jitter", "erasing:0.1"], "erasing and erasing; one erasing at most"),
        (["rand-augment", "trivial-augment"], "rand-augment and trivial-augment; one policy at most"),
        (["rand-augment:n=0"], "`augment=rand-augment:n=0`: n must be from 1 to 8"),
        (["rand-augment:m=31"], "m must be from 0 to 30"),
        (["trivial-augment:9"], "trivial-augment takes no argument"),
        (["color-jitter:hue=0.6"], "`augment=color-jitter:hue=0.6`: the hue must be from 0 to 0.5"),
        (["color-jitter:contrast=-1"], "the contrast must be from 0 to 10"),
        (["color-jitter:nan"], "the brightness must be from 0 to 10"),
        (["erasing:p=2"], "`augment=erasing:p=2`: p must be from 0 to 1"),
        (["erasing:scale=0-1"], "the scale must be a range in 0..1"),
        (["erasing:ratio=2-1"], "the ratio must be a range in 0.01..100"),
        (["alternating-flip", "flip"], "alternating-flip and flip; one flip at most"),
    ],
)
def test_a_wrong_list_is_refused(items: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(items)
    assert message in caught.value.message


NUMBERS = st.integers() | st.floats() | st.sampled_from(["", "1e999", "-", "0x4", "\u0661"])
ARGUMENTS = st.builds(str, NUMBERS) | st.builds("{}-{}".format, NUMBERS, NUMBERS) | st.text(max_size=5)
WORDS = ARGUMENTS | st.builds(
    "{}={}".format, st.sampled_from(["padding", "scale", "ratio", "fraction", "hue", "p", "n", "m"]), ARGUMENTS
)
ITEMS = st.builds(
    lambda name, words: ":".join([name, *words]), st.sampled_from([*AUGMENTATIONS, "x"]), st.lists(WORDS, max_size=2)
)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(st.lists(ITEMS, max_size=2))
def test_any_list_is_refused_or_gives_windows_and_edits(items: list[str]) -> None:
    try:
        augment = resolve_training(items, (20, 30), (16, 16))
    except InputError:
        return
    asked = draw(5, 20, 30)
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        window, flip = augment.choose(asked)
        edits = augment.edits(asked)
    assert tuple(tuple(edit.parts) for edit in edits) == augment.parts
    assert all(len(array) == 5 and np.isfinite(array).all() for edit in edits for array in edit.parts.values())
    assert window.shape == (5, 4)
    assert flip.shape == (5,)
    assert (window[:, 2:] > 0).all()
    low, high = window[:, :2], window[:, :2] + window[:, 2:]
    assert not augment.crop.inside or ((low >= 0).all() and (high <= [20, 30]).all())


def test_auto_crop_depends_on_image_sizes() -> None:
    assert resolve_training(["auto-crop:6"], (64, 64), (64, 64)) == Augmentations((64, 64), PadCrop(6))
    assert resolve_training(["auto-crop", "flip"], None, (64, 64)).crop == RandomResizedCrop()


def test_without_a_crop_the_whole_centre_is_taken() -> None:
    assert resolve_training([], (64, 64), (32, 32)) == Augmentations((32, 32), Center(1.0))
    assert resolve_training(["flip"], (64, 64), (32, 32)) == Augmentations((32, 32), Center(1.0), Flip())


def test_windows_and_flips_come_from_the_items() -> None:
    asked = draw(100, 64, 64)
    window, flip = Augmentations((64, 64), PadCrop(3), Flip()).choose(asked)
    assert window.tolist() == PadCrop(3).windows(asked, (64, 64)).tolist()
    assert flip.tolist() == Flip().flips(asked).tolist()
    assert not Augmentations((64, 64), PadCrop(3)).choose(asked)[1].any()


def test_edits_are_done_in_one_order_however_they_are_written() -> None:
    for items in (["erasing", "color-jitter"], ["color-jitter", "erasing"]):
        assert resolve_training(items, (8, 8), (8, 8)).editors == (ColorJitter(), Erasing())
    assert resolve_training(["flip"], (8, 8), (8, 8)).edits(draw(5, 8, 8)) == ()


@pytest.mark.parametrize(
    ("augment", "image", "whole"),
    [
        (Augmentations((64, 64), Center()), (64, 64), True),
        (Augmentations((64, 64), PadCrop(0)), (64, 64), True),
        (Augmentations((64, 64), Center(0.5)), (64, 64), False),
        (Augmentations((64, 64), Center(), Flip()), (64, 64), False),
        (Augmentations((64, 64), PadCrop(1)), (64, 64), False),
        (Augmentations((64, 64), RandomResizedCrop()), (64, 64), False),
        (Augmentations((64, 64), Center(), None, (Erasing(),)), (64, 64), False),
        (Augmentations((64, 64), Center()), (65, 64), False),
        (Augmentations((64, 64), Center()), None, False),
    ],
)
def test_whole_images_are_neither_cropped_nor_mirrored(
    augment: Augmentations, image: tuple[int, int] | None, whole: bool
) -> None:
    assert augment.whole_images(image) is whole


def test_the_error_message_lists_every_augmentation() -> None:
    with pytest.raises(InputError, match=re.escape(", ".join(AUGMENTATIONS))):
        parse(["none"])


def test_a_list_is_kept_in_one_form() -> None:
    """However it is written, and whatever the numbers, what is kept can be read again and is the same."""
    assert canonical(["flip", "pad-crop:padding=6"]) == canonical(["pad-crop:6", "flip"]) == ("pad-crop:6", "flip")
    for item in (
        "random-resized-crop:scale=0.00001-1",
        "random-resized-crop:scale=1e-3-1",
        "center:0.33333333333333333",
    ):
        once = canonical([item])
        assert canonical(once) == once
        assert parse(once) == parse([item])
