import dataclasses
import inspect
import math
from typing import Any

import pytest
import torch

from feedline import Dataset, InputError, Loader, LoaderOptions
from feedline.pipeline.errors import as_flags
from tests.pipeline.loading import make_loader


def test_the_loaders_signature_lists_the_options() -> None:
    parameters = inspect.signature(Loader).parameters
    fields = dataclasses.fields(LoaderOptions)
    assert list(parameters) == ["dataset", *(field.name for field in fields)]
    for field in fields:
        parameter = parameters[field.name]
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.default == field.default


def test_every_option_has_a_default_and_is_documented() -> None:
    assert LoaderOptions() == LoaderOptions()
    for field in dataclasses.fields(LoaderOptions):
        assert field.name in str(LoaderOptions.__doc__)


def test_a_loader_keeps_its_options(dataset: Dataset) -> None:
    loader = make_loader(dataset, classes=3, part="val")
    assert loader.options == LoaderOptions(split="official", batch_size=20, threads=2, seed=7, classes=3, part="val")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "`batch_size=0`: must be at least 1"),
        ({"shuffle_block": 0}, "`shuffle_block=0`: must be at least 1"),
        ({"shuffle_group": -1}, "`shuffle_group=-1`: must be at least 1"),
        ({"prefetch": 0}, "`prefetch=0`: must be at least 1"),
        ({"threads": 0}, "`threads=0`: must be at least 1"),
        ({"image_size": 7}, "`image_size=7`: must be at least 8"),
        ({"crop_fraction": 0.0}, "`crop_fraction=0.0`: must be above 0 and at most 1"),
        ({"crop_fraction": 1.5}, "`crop_fraction=1.5`: must be above 0 and at most 1"),
        ({"mean": (0.5, 0.5)}, "`mean=0.5,0.5`: must be three numbers"),
        ({"mean": (0.5, 0.5, math.nan)}, "`mean=0.5,0.5,nan`: must be three numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "`std=0.5,0.5,0.0`: must be three positive numbers"),
        ({"std": (0.5, 0.5, math.inf)}, "`std=0.5,0.5,inf`: must be three positive numbers"),
        ({"dtype": torch.float64}, "`dtype=torch.float64`: must be float32, float16 or uint8"),
        ({"augment": "pad-crop,flip"}, "`augment=pad-crop,flip`: must be a list of names, as ['pad-crop:4', 'flip']"),
        ({"augment": ("blur",)}, "`augment=blur`: there is no 'blur'"),
        ({"augment": ("pad-crop", "center")}, "one crop at most"),
    ],
)
def test_a_wrong_value_is_refused(dataset: Dataset, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        LoaderOptions(**changes)
    assert message in caught.value.message
    with pytest.raises(InputError) as again:
        make_loader(dataset, **changes)
    assert again.value.message == caught.value.message


def test_the_command_line_names_flags() -> None:
    with pytest.raises(InputError) as caught:
        LoaderOptions(batch_size=0)
    assert str(caught.value) == "batch_size=0: must be at least 1"
    assert as_flags(caught.value) == "--batch-size 0: must be at least 1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("batchsize", "batchsize: no such option; did you mean batch_size?"),
        ("num_threads", "num_threads: no such option; did you mean threads?"),
        ("image_sise", "image_sise: no such option; did you mean image_size?"),
        ("qqq", "qqq: no such option"),
    ],
)
def test_an_unknown_option_is_refused_with_the_nearest_name(dataset: Dataset, name: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        make_loader(dataset, **{name: 3})
    assert str(caught.value) == message


@pytest.mark.parametrize("changes", [{"crop": "pad"}, {"padding": 4}, {"flip": False}])
def test_an_old_option_is_refused_with_its_replacement(dataset: Dataset, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        make_loader(dataset, **changes)
    (name,) = changes
    assert str(caught.value) == f"{name}: say augment instead, as augment=['pad-crop:4', 'flip']"
