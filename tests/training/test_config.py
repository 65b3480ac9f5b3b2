import dataclasses

import pytest

from feedline import InputError
from feedline.training.config import Config


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config.build("x", {}).optim.epochs = 3  # type: ignore[misc]


def test_a_wrong_value_names_its_argument() -> None:
    with pytest.raises(InputError, match=r"^epochs=0: must be at least 1 and below 1,000,000$") as caught:
        Config.build("x", {"epochs": 0})
    assert caught.value.message.startswith("`epochs=0`")


def test_training_is_shuffled() -> None:
    assert Config.build("x", {"shuffle": True}).loader.shuffle == "full"
    with pytest.raises(InputError, match=r"^shuffle=False: must be full or blocks"):
        Config.build("x", {"shuffle": False})


@pytest.mark.parametrize(
    ("save_every", "steps", "minutes"), [(0, 0, 0), (20, 20, 0), ("10m", 0, 10), ("0.5m", 0, 0.5), (".5m", 0, 0.5)]
)
def test_save_every_is_steps_or_minutes(save_every: int | str, steps: int, minutes: float) -> None:
    run = Config.build("x", {"save_every": save_every}).run
    assert (run.save_steps, run.save_minutes) == (steps, minutes)


@pytest.mark.parametrize("save_every", [-1, "10", "0m", "m", "10s"])
def test_other_intervals_are_refused(save_every: int | str) -> None:
    with pytest.raises(InputError, match=r"^save_every=.*: must be a number of steps, or of minutes"):
        Config.build("x", {"save_every": save_every})


@pytest.mark.parametrize(
    "values", [{"epochs": 10**20}, {"log_every": 10**20}, {"weight_decay": float("inf")}, {"threads": 10**20}]
)
def test_numbers_that_can_only_be_slips_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(values))}=.*: must be "):
        Config.build("x", values)
