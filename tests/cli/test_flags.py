import argparse
import re
from pathlib import Path
from typing import Any

import pytest

from feedline import InputError
from feedline.cli.flags import add_flags, as_words
from feedline.cli.parser import parse, parser
from feedline.cli.recipes import configure
from feedline.pipeline.augment.old_keys import OLD_KEYS
from feedline.pipeline.errors import as_flags
from feedline.training.config import Config
from feedline.training.keys import keys


def flags(*argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return vars(parser.parse_args(argv))


def test_flags_override_the_recipe_and_the_recipe_overrides_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text('epochs = 7\nmax-lr = 1\nflip = false\nmean = [0.5, 0.5, 0.5]\nstore = "jpeg"\n')
    config = configure(str(recipe), flags("--epochs", "9", "--amp", "--std", "0.1,0.2,0.3"))
    assert config.recipe == "mine"
    assert (config.optim.epochs, config.optim.max_lr, config.loader.augment) == (9, 1.0, ("auto-crop",))
    assert (config.loader.mean, config.loader.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    assert (config.run.amp, config.loader.store, config.loader.batch_size) == (True, "jpeg", 256)


def test_every_key_is_a_flag_and_a_recipe_key(tmp_path: Path) -> None:
    defaults = Config.build("x", {}).flat()
    parser = argparse.ArgumentParser()
    add_flags(parser)
    keys_ = {field.name for _, _, field in keys()}
    assert set(defaults) == keys_
    assert set(shown_flags(parser)) == keys_ | OLD_KEYS.keys()
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
    assert configure(str(tmp_path / "all.toml"), {}).flat() == defaults


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batch-size", "0"], "--batch-size 0: must be at least 1"),
        (["--max-lr", "-1"], "--max-lr -1.0: must be auto or above 0"),
        (["--epochs", "x"], "--epochs x: must be a whole number"),
        (["--peak-epoch", "50"], "--peak-epoch 50.0: must be above 0 and below the 50 epochs"),
        (["--std", "1,0,1"], "three positive numbers"),
        (["--ema", "1"], "--ema 1.0: must be in [0, 1)"),
        (["--label-smoothing", "1"], "--label-smoothing 1.0: must be in [0, 1)"),
    ],
)
def test_a_wrong_value_names_its_flag(argv: list[str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        configure("default", flags(*argv))
    assert message in as_flags(caught.value)


def shown_flags(parser: argparse.ArgumentParser) -> list[str]:
    """The keys whose flags the help shows."""
    flags = re.findall(r"^  --([a-z-]+)", parser.format_help(), re.MULTILINE)
    return [flag.replace("-", "_") for flag in flags]


def test_flags_can_be_written_back_as_arguments() -> None:
    argv = ["--epochs", "9", "--amp", "--no-flip", "--std", "0.1,0.2,0.3"]
    assert as_words(flags(*argv)) == argv


def test_old_keys_of_a_recipe_and_flags_are_read_together(tmp_path: Path) -> None:
    recipe = tmp_path / "old.toml"
    recipe.write_text('crop = "center"\npadding = 8\n')
    assert configure(str(recipe), flags("--crop", "pad", "--no-flip")).loader.augment == ("pad-crop:8",)
    assert configure(str(recipe), flags("--augment", "flip")).loader.augment == ("flip",)
    recipe.write_text('flip = false\naugment = ["flip"]\n')
    with pytest.raises(InputError, match=f"^{recipe}: flip: augment says that already"):
        configure(str(recipe), {})


def test_the_help_shows_what_holds_for_any_dataset() -> None:
    """And not the split, stem and target that the default recipe has for Tiny ImageNet."""
    text = " ".join(parser("train").format_help().split())
    assert "the split, as official or 70-30 (auto) " in text
    assert "with stride 2 and max-pool (auto) " in text
    assert "--target TARGET val top-1 in percent --" in text


def test_the_help_shows_the_values_of_the_recipe_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.toml").write_text('split = "official"\nepochs = 71\ndata = "5%d"\n')
    shown = {
        "cpu": ("those of the recipe cpu;", "(auto)", "the rest by sgd (muon)"),
        str(tmp_path / "own.toml"): ("own.toml;", "(official)", "(71)", "(5%d)"),
    }
    for recipe, texts in shown.items():
        with pytest.raises(SystemExit):
            parse(["--help", "--recipe", recipe])
        help = " ".join(capsys.readouterr().out.split())
        for text in texts:
            assert text in help
    with pytest.raises(InputError, match="no such recipe; did you mean cpu"):
        parse(["--recipe", "cpuu", "--help"])
