import dataclasses
import inspect
import math
import re
from typing import Any

import numpy as np
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
    entries = re.findall(r"^ {8}(\w+(?:, \w+)*): ", str(LoaderOptions.__doc__).partition("Raises:")[0], re.MULTILINE)
    documented = {name for entry in entries for name in entry.split(", ")}
    assert {field.name for field in dataclasses.fields(LoaderOptions)} == documented


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
        ({"mean": (123.7, 116.3, 103.5)}, "must be three numbers in 0..1 (of 0..255, divide by 255)"),
        ({"std": (58.4, 57.1, 57.4)}, "must be three positive numbers up to 1"),
        ({"batch_size": 2**31}, "must be below 2^31"),
        ({"mean": (0.5, 0.5, math.nan)}, "`mean=0.5,0.5,nan`: must be three numbers"),
        ({"std": (0.5, 0.5, 0.0)}, "`std=0.5,0.5,0.0`: must be three positive numbers"),
        ({"std": (0.5, 0.5, math.inf)}, "`std=0.5,0.5,inf`: must be three positive numbers"),
        ({"dtype": torch.float64}, "`dtype=torch.float64`: must be torch.float32, torch.float16 or torch.uint8"),
        ({"augment": None}, "`augment=None`: must be a list of names"),
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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": "8"}, "`batch_size=8`: must be a whole number"),
        ({"batch_size": True}, "`batch_size=True`: must be a whole number"),
        ({"threads": 1.5}, "`threads=1.5`: must be a whole number"),
        ({"image_size": (32, 32)}, "`image_size=32,32`: images are square: one side, as image_size=64"),
        ({"crop_fraction": "0.5"}, "`crop_fraction=0.5`: must be a number"),
        ({"decode": "foo"}, "`decode=foo`: must be auto or cpu or mixed"),
        ({"mean": 0.5}, "`mean=0.5`: must be a list of numbers"),
        ({"mean": ("a", "b", "c")}, "`mean=a,b,c`: must be a list of numbers"),
        ({"seed": None}, "`seed=None`: must be a whole number"),
        ({"seed": -1}, "`seed=-1`: must be in 0"),
        ({"world_size": 0}, "`world_size=0`: must be at least 1"),
        ({"rank": 2, "world_size": 2}, "`rank=2`: must be below `world_size=2`"),
        ({"dtype": "float32"}, "`dtype=float32`: must be a torch.dtype"),
        ({"augment": iter(["flip"])}, "must be a list of names"),
        ({"augment": (1,)}, "`augment=1`: must be a list of names"),
    ],
)
def test_a_value_of_another_type_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        LoaderOptions(**changes)
    assert message in caught.value.message


def test_lists_and_numbers_of_numpy_are_taken() -> None:
    mean: Any = np.array([0.5, 0.5, 0.5])
    options = LoaderOptions(mean=mean, std=[1, 1, 1], batch_size=np.int64(8), augment=["flip"])
    assert (options.mean, options.std, options.batch_size) == ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 8)
    assert options == LoaderOptions(mean=(0.5, 0.5, 0.5), std=(1.0, 1.0, 1.0), batch_size=8, augment=("flip",))
    assert hash(options)


@pytest.mark.parametrize("device", ["foo", "CPU", "meta", "cuda:x"])
def test_a_device_that_is_not_there_is_refused(dataset: Dataset, device: str) -> None:
    with pytest.raises(InputError, match=f"device={device}: must be auto, cpu, cuda"):
        Loader(dataset, split="official", device=device)


def test_the_dataset_may_be_named(dataset: Dataset) -> None:
    assert Loader(dataset=dataset, split="official", batch_size=16).images == 96  # type: ignore[call-arg]
    assert Loader(str(dataset.root), split="official", batch_size=16).images == 96
    with pytest.raises(TypeError, match="one argument by position, the dataset"):
        Loader(dataset, "official")  # type: ignore[call-arg]


def test_the_default_split_is_the_sources_own_or_else_the_first(dataset: Dataset, varied: Dataset) -> None:
    loader = Loader(dataset, batch_size=16)
    assert (loader.split, loader.options.split, loader.images) == ("official", "official", 96)
    assert Loader(varied, batch_size=4).split == Loader(varied, batch_size=4, split="auto").split == "70-30"
    assert Loader(dataset, split="70-30", batch_size=16).split == "70-30"
    state = loader.state_dict()
    Loader(dataset, split="official", batch_size=16).load_state_dict(state)
    with pytest.raises(InputError, match="split=70-30"):
        Loader(dataset, split="70-30", batch_size=16).load_state_dict(state)


def test_augment_may_be_text_as_on_the_command_line() -> None:
    names = LoaderOptions(augment=["flip", "erasing:p=0.5"])
    assert LoaderOptions(augment="flip,erasing:p=0.5") == names
    with pytest.raises(InputError, match=r"augment=flop: .*; did you mean flip\?"):
        LoaderOptions(augment="flop,erasing")
