import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from feedline.pipeline import InputError
from feedline.training.config import RECIPES, Config, add_flags, from_flags, keys, read_recipe


def flags(*argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(argv))


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid(path: Path) -> None:
    assert from_flags(path.stem, {}).recipe == path.stem


def test_the_requirement_and_the_assignment_are_what_they_say() -> None:
    default = from_flags("default", {})
    assert (default.data.split, default.optim.epochs) == ("70-30", 50)
    assignment = from_flags("assignment", {})
    assert assignment.data.split == "official"
    optim = assignment.optim
    assert (optim.optimizer, optim.max_lr, optim.peak_epoch, optim.epochs) == ("adam", 0.00203, 4, 11)
    assert optim.final_div_factor == 1


def test_a_flag_beats_the_recipe_and_the_recipe_beats_the_default(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('epochs = 7\nmax-lr = 1\nflip = false\nmean = [0.5, 0.5, 0.5]\nstore = "jpeg"\n')
    config = from_flags(str(recipe), flags("--epochs", "9", "--amp", "--std", "0.1,0.2,0.3"))
    assert config.recipe == "mine"
    assert (config.optim.epochs, config.optim.max_lr, config.data.flip) == (9, 1.0, False)
    assert (config.data.mean, config.data.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    assert (config.run.amp, config.data.store, config.data.batch_size) == (True, "jpeg", 256)


def test_every_key_is_a_flag_and_a_recipe_key(tmp_path: Path) -> None:
    defaults = Config.build("x", {}).flat()
    parser = argparse.ArgumentParser()
    add_flags(parser)
    known = {a.dest for a in parser._actions} - {"help"}
    assert known == set(defaults) == {field.name for _, _, field in keys()}
    lines = []
    for name, value in defaults.items():
        if value is None:
            continue
        text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
        text = text or (
            f'"{value}"' if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)
        )
        lines.append(f"{name.replace('_', '-')} = {text}\n")
    (tmp_path / "all.toml").write_text("".join(lines))
    assert from_flags(str(tmp_path / "all.toml"), {}).flat() == defaults


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config.build("x", {}).optim.epochs = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean epochs"),
        ("batch_size = 3", "unknown key 'batch_size'; did you mean batch-size"),
        ("zzz = 3", "unknown key 'zzz'; see python train.py --help"),
        ("epochs = 'many'", "epochs many: expected int"),
        ("epochs = 2.5", "epochs 2.5: expected int"),
        ("amp = 1", "amp 1: expected bool"),
        ("store = 'tape'", "store tape: expected auto or files"),
        ("max-lr = 'high'", "max-lr high: expected auto or float"),
        ("epochs = ", "cannot be read"),
    ],
)
def test_a_wrong_recipe_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(str(recipe))
    assert message in str(caught.value)
    assert "wrong.toml" in str(caught.value)


def test_no_such_recipe_lists_those_there_are() -> None:
    with pytest.raises(InputError, match="no such recipe; there are assignment, default, demo"):
        read_recipe("nothing")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batch-size", "0"], "--batch-size 0: must be at least 1"),
        (["--max-lr", "-1"], "--max-lr -1.0: must be auto or above 0"),
        (["--epochs", "x"], "--epochs x: expected int"),
        (["--peak-epoch", "50"], "--peak-epoch 50.0: must be above 0 and below the 50 epochs"),
        (["--std", "1,0,1"], "three positive numbers"),
        (["--ema", "1"], "--ema 1.0: must be in [0, 1)"),
        (["--label-smoothing", "1"], "--label-smoothing 1.0: must be in [0, 1)"),
    ],
)
def test_a_wrong_value_names_its_flag(argv: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_flags("default", flags(*argv))
    assert message in str(caught.value)
