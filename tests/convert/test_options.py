from pathlib import Path
from typing import Any

import pytest

from feedline import InputError
from feedline.convert.options import Options


def options(**changed: Any) -> Options:
    values: dict[str, Any] = {"source": "photos", "out": Path("out"), "packs": ("raw",), "val_fraction": 0.3}
    return Options(**{**values, "seed": 0, "workers": 1, "strict": False, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"packs": ("jpeg", "tar")}, "`packs=tar`: choose from jpeg, raw"),
        ({"val_fraction": 1.0}, "`val_fraction=1.0`: must be at least 0 and below 1"),
        ({"val_fraction": -0.1}, "`val_fraction=-0.1`: must be at least 0 and below 1"),
        ({"workers": 0}, "`workers=0`: must be at least 1"),
        ({"max_size": 7}, "`max_size=7`: must be at least 8 pixels"),
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
