from typing import Any

import pytest

from feedline import InputError
from feedline.pipeline.augment import translate_old_keys

DEFAULT = ("auto-crop", "flip")


@pytest.mark.parametrize(
    ("values", "before", "augment"),
    [
        ({"crop": "auto", "padding": 4, "flip": True}, DEFAULT, ("auto-crop", "flip")),
        ({"crop": "pad"}, DEFAULT, ("pad-crop", "flip")),
        ({"crop": "pad", "padding": 8}, DEFAULT, ("pad-crop:8", "flip")),
        ({"crop": "random-resized", "padding": 8}, DEFAULT, ("random-resized-crop", "flip")),
        ({"crop": "center", "flip": False}, DEFAULT, ("center",)),
        ({"padding": 2}, DEFAULT, ("auto-crop:2", "flip")),
        ({"padding": 2}, ("pad-crop:4",), ("pad-crop:2",)),
        ({"crop": "pad"}, ("auto-crop:8", "flip"), ("pad-crop:8", "flip")),
        ({"crop": "auto"}, ("pad-crop:8",), ("auto-crop:8",)),
        ({"padding": 2}, ("random-resized-crop:scale=0.2-1",), ("random-resized-crop:scale=0.2-1",)),
        ({"padding": 2}, (), ()),
        ({"flip": False}, DEFAULT, ("auto-crop",)),
        ({"flip": True}, ("pad-crop:4",), ("pad-crop", "flip")),
        ({"flip": False}, ("flip", "center:0.5"), ("center:0.5",)),
        ({"flip": False}, ("flip",), ()),
        ({"flip": False}, ("center", "alternating-flip"), ("center",)),
        ({"crop": "pad"}, ("erasing:p=0.5", "center", "flip"), ("pad-crop", "flip", "erasing:p=0.5")),
        ({"padding": 2}, ("color-jitter",), ("color-jitter",)),
        ({"crop": "pad", "flip": True}, ("center", "alternating-flip"), ("pad-crop", "alternating-flip")),
        ({"padding": 2}, ("auto-crop", "alternating-flip"), ("auto-crop:2", "alternating-flip")),
    ],
)
def test_the_old_keys_become_a_list(values: dict[str, Any], before: tuple[str, ...], augment: tuple[str, ...]) -> None:
    translated = translate_old_keys({"seed": 3, **values}, before)
    assert translated == {"seed": 3, "augment": augment}


def test_values_without_old_keys_are_unchanged() -> None:
    values = {"seed": 3, "augment": ("center",)}
    translated = translate_old_keys(values, DEFAULT)
    assert translated == values
    assert translated is not values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": "pad", "augment": ("flip",)}, "`crop`: `augment` says that already; keep `augment`"),
        ({"flip": True, "augment": ()}, "`flip`: `augment` says that already"),
        ({"crop": "square"}, "`crop=square`: choose from auto, pad, random-resized, center"),
        ({"crop": None}, "`crop=None`: choose from"),
        ({"crop": ["pad"]}, "`crop=['pad']`: choose from"),
        ({"crop": "pad", "padding": -1}, "the padding must be at least 0"),
        ({"padding": "wide"}, "'wide' is not a number"),
        ({"padding": None}, "'None' is not a number"),
    ],
)
def test_old_keys_that_cannot_be_translated_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        translate_old_keys(values, DEFAULT)
    assert message in caught.value.message
