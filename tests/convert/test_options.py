import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feedline import InputError
from feedline.convert.options import Options, pack_kinds


def options(**changed: Any) -> Options:
    values: dict[str, Any] = {"source": "photos", "out": Path("out"), "packs": ("raw",), "val_fraction": 0.3}
    return Options(**{**values, "seed": 0, "workers": 1, "strict": False, **changed})


def test_numpys_numbers_are_numbers() -> None:
    assert json.dumps(options(seed=np.int64(3), max_size=np.uint8(9)).identity())


@pytest.mark.parametrize("packs", [None, 3, [None]])
def test_packs_of_another_type_are_refused(packs: Any) -> None:
    with pytest.raises(InputError, match="must be a text, as jpeg,raw, or a list of texts"):
        pack_kinds(packs)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"packs": ("jpeg", "tar")}, "`packs=tar`: choose from jpeg, raw"),
        ({"val_fraction": 1.0}, "`val_fraction=1.0`: must be at least 0 and below 1"),
        ({"val_fraction": -0.1}, "`val_fraction=-0.1`: must be at least 0 and below 1"),
        ({"workers": 0}, "`workers=0`: must be at least 1"),
        ({"max_size": 7}, "`max_size=7`: must be at least 8 pixels"),
        ({"seed": True}, "`seed=True`: must be a whole number"),
        ({"seed": 1.5}, "`seed=1.5`: must be a whole number"),
        ({"near_duplicates": False}, "`near_duplicates=False`: choose from auto, on, off"),
    ],
)
def test_errors_name_the_argument(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        options(**changed)
    assert caught.value.message == message


def test_the_identity_has_only_options_that_change_the_dataset() -> None:
    """The source is compared by what it holds, see test_identity.py."""
    identity = options().identity()
    assert options(source="other", out=Path("elsewhere"), workers=9, strict=True).identity() == identity
    for changed in ({"packs": ()}, {"val_fraction": 0.5}, {"seed": 1}, {"max_size": 64}):
        assert options(**changed).identity() != identity
