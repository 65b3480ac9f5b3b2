from collections.abc import Sequence
from typing import Any, Literal

import pytest

from feedline import InputError
from feedline.training.keys import convert, convert_known


@pytest.mark.parametrize(
    ("hint", "value", "converted"),
    [
        (int, "3", 3),
        (int, 3.0, 3),
        (float, 3, 3.0),
        (bool, True, True),
        (int | None, None, None),
        (int | str, "10m", "10m"),
        (float | Literal["auto"], "auto", "auto"),
        (float | Literal["auto"], "1e-3", 1e-3),
        (Sequence[float], "1,2,3", (1.0, 2.0, 3.0)),
        (Sequence[float], [1, 2, 3], (1.0, 2.0, 3.0)),
    ],
)
def test_a_value_is_converted_to_the_type_of_its_key(hint: Any, value: Any, converted: Any) -> None:
    result = convert("key", hint, value)
    assert (result, type(result)) == (converted, type(converted))


@pytest.mark.parametrize(
    ("hint", "value", "wanted"),
    [
        (int, 2.5, "a whole number"),
        (int, True, "a whole number"),
        (int, None, "a whole number"),
        (bool, 1, "True or False"),
        (float, 10**400, "a number"),
        (float | Literal["auto"], "high", "auto or a number"),
        (Sequence[float], "1,x", "a list of numbers"),
    ],
)
def test_a_value_of_another_type_is_refused(hint: Any, value: Any, wanted: str) -> None:
    with pytest.raises(InputError) as caught:
        convert("some_key", hint, value)
    assert str(caught.value) == f"some_key={value}: must be {wanted}"


def test_unknown_keys_are_left_out() -> None:
    assert convert_known({"epochs": "3", "colour": "red"}) == {"epochs": 3}
