from pathlib import Path

import pytest

from feedline import InputError
from feedline.cli.recipes import RECIPES, configure, read_recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_is_valid(path: Path) -> None:
    assert configure(path.stem, {}).recipe == path.stem


def test_default_and_assignment_recipes_match_their_sources() -> None:
    default = configure("default", {})
    assert (default.loader.split, default.optim.epochs) == ("70-30", 50)
    assignment = configure("assignment", {})
    assert assignment.loader.split == "official"
    optim = assignment.optim
    assert (optim.optimizer, optim.max_lr, optim.peak_epoch, optim.epochs) == ("adam", 0.00203, 4, 11)
    assert optim.final_div_factor == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown key 'epoch'; did you mean epochs"),
        ("batch_size = 3", "unknown key 'batch_size'; did you mean batch-size"),
        ("lr = 0.1", "unknown key 'lr'; did you mean max-lr?"),
        ("LearningRate = 0.1", "unknown key 'LearningRate'"),
        ("Learning_Rate = 0.1", "unknown key 'Learning_Rate'; did you mean max-lr?"),
        ("num_workers = 4", "unknown key 'num_workers'; did you mean threads?"),
        ("zzz = 3", "unknown key 'zzz'; see python train.py --help"),
        ("epochs = 'many'", "epochs = many: must be a whole number"),
        ("epochs = 2.5", "epochs = 2.5: must be a whole number"),
        ("amp = 1", "amp = 1: must be true or false"),
        ("epochs = true", "epochs = true: must be a whole number"),
        ("store = 'tape'", "store = tape: must be auto or files"),
        ("max-lr = 'high'", "max-lr = high: must be auto or a number"),
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


def test_an_unknown_recipe_lists_the_recipes() -> None:
    with pytest.raises(InputError, match="no such recipe; there are assignment, best, cpu, cpu-best, default"):
        read_recipe("nothing")
