"""Flags by mode: which are used, which are refused, and what the help shows."""

import re
from pathlib import Path

import pytest
import torch

from feedline import Dataset
from feedline.cli.parser import WHAT, parse
from feedline.cli.usage import uses
from tests.cli.commands import refused, run, train


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["train", "--checkpoint", "best.pt"],
            "--checkpoint: --mode train does not use it; it is for --mode eval, predict and export",
        ),
        (["train", "--start-lr", "3"], "--start-lr: --mode train does not use it; it is for --mode lrfind"),
        (["train", "--rounds", "5"], "--rounds: --mode train does not use it; it is for --mode bench"),
        (
            ["eval", "--resume", "runs/a"],
            "it is for --mode train and peek; name the run's checkpoint with --checkpoint",
        ),
        (["eval", "--recipe", "demo"], "--recipe: --mode eval does not use it; it is for --mode lrfind, train, bench"),
        (["peek", "--resume", "--recipe", "demo"], "--recipe: has no effect beside --resume: the run has its settings"),
        (["peek", "--resume", "--data", "x", "--seed", "1"], "--seed: has no effect beside --resume"),
        (["predict", "--checkpoint", "x.pt", "--data", "d", "a.png"], "--data d: has no effect beside --checkpoint"),
        (["train", "--cycle-momentum", "--momentum", "0.8"], "--momentum 0.8: has no effect beside --cycle-momentum"),
        (["eval", "--epochs", "3"], "--epochs: --mode eval does not use it; it is for --mode lrfind, train and peek"),
        (
            ["eval", "--compile"],
            "--compile: --mode eval does not use it; it is for --mode lrfind, train, bench and peek",
        ),
        (
            ["bench", "--no-tta"],
            "--tta: --mode bench does not use it; it is for --mode lrfind, train, eval, peek and predict",
        ),
        (["summary", "--out", "x"], "--out: --mode summary does not use it"),
        (["lrfind", "--end-lr", "0"], "--end-lr 0.0: must be above 0"),
        (["lrfind", "--start-lr", "0"], "--start-lr 0.0: must be above 0"),
        (["lrfind", "--start-lr", "-1e-3"], "--start-lr -0.001: must be above 0"),
        (["lrfind", "--start-lr", "1e-320"], "--start-lr 1e-320: must be above 0, from 1e-30 to 1e30"),
        (["lrfind", "--end-lr", "inf"], "--end-lr inf: must be above 0, from 1e-30 to 1e30"),
        (["bench", "--rounds", "0"], "--rounds 0: must be at least 1"),
        (["bench", "--seconds", "0"], "--seconds 0.0: must be above 0"),
        (["bench", "--seconds", "nan"], "--seconds nan: must be above 0"),
        (["train", "--std", "-1,1,1"], "--std -1.0,1.0,1.0: must be three positive numbers"),
        (["train", "--mean", "123.7,116.3,103.5"], "--mean 123.7,116.3,103.5: must be three numbers in 0..1"),
        (["train", "--mean", "nan,0,0"], "--mean nan,0.0,0.0: must be three numbers in 0..1"),
        (["train", "--out", ""], "--out: its value is empty"),
        (["train", "--resume="], "--resume: its value is empty"),
        (["train", "--data", ""], "--data: its value is empty"),
        (["train", "--zzzz"], "--zzzz: there is no such flag; see --help"),
        (["train", "--model", "resnet50"], "--model: the network is ResNet18; others train in a loop of your own"),
        (["train", "runs/a"], "runs/a: is not the value of a flag"),
        (["train", "data=data/mine"], "data=data/mine: is not the value of a flag"),
        (["train", ""], "'': is not the value of a flag"),
        (["train", "--tta-views", "crops", "--no-tta"], "--tta-views crops: has no effect without --tta"),
        (["train", "--patience", "3", "--eval-every", "0"], "--patience 3: has no effect without --eval-every above 0"),
        (["train", "--patience", "-1"], "--patience -1: must be at least 0 and below 1,000,000"),
        (["eval", "--patience", "3"], "--patience: --mode eval does not use it; it is for --mode lrfind, train and"),
        (["train", "--muon-steps", "3"], "--muon-steps 3: has no effect without --optimizer muon"),
        (["train", "--cooldown", "0.1"], "--cooldown 0.1: has no effect without --schedule trapezoid"),
        (["train", "--mix-until", "0.5"], "--mix-until 0.5: has no effect without --mixup or --cutmix"),
        (
            ["train", "--padding", "2", "--crop", "center"],
            "--padding 2: has no effect without --crop pad or --crop auto",
        ),
        (["train", "--augment", "flip", "--decode", "cpu", "--engine", "torch"], "has no effect without --engine dali"),
        (["bench", "--decode", "mixed", "--device", "cpu"], "--decode mixed: has no effect without --engine dali"),
        (["eval", "--augment", "flip"], "--augment: --mode eval does not use it"),
        (["eval", "--no-flip"], "--flip: --mode eval does not use it"),
        (["train", "--init", ""], "--init: its value is empty"),
        (
            ["train", "--compile-mode", "default", "--device", "cpu"],
            "--compile-mode default: has no effect without --compile",
        ),
        (
            ["train", "--no-compile", "--compile-mode", "max-autotune"],
            "--compile-mode max-autotune: has no effect without --compile",
        ),
        (["train", "--amp-dtype", "bf16"], "--amp-dtype bf16: has no effect without --amp"),
        (["train", "--shuffle-block", "8"], "--shuffle-block 8: has no effect without --shuffle blocks"),
        (
            ["train", "--schedule", "trapezoid", "--anneal", "cos"],
            "--anneal cos: has no effect without --schedule onecycle",
        ),
        (
            ["train", "--recipe", "assignment", "--pct-start", "0.1"],
            "--pct-start 0.1: has no effect beside --peak-epoch 4, which recipe assignment has; give --peak-epoch",
        ),
        (
            ["train", "--recipe", "cpu", "--epochs", "1", "--seed", "3"],
            "--epochs 1: does not go with recipe cpu, in which image-size = 24@0,32@6: must be sides for epochs below "
            "the run's 1; give --image-size too",
        ),
    ],
)
def test_what_would_change_nothing_is_refused(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    """Before the dataset is looked for, and before anything is written."""
    assert message in refused(capsys, "--mode", *argv)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(("gpu", "mode"), [(True, "default"), (True, "auto"), (False, "auto"), (False, "max-autotune")])
def test_a_mode_of_compiling_may_be_given_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, gpu: bool, mode: str
) -> None:
    """On a GPU long runs are compiled; elsewhere the modes with CUDA graphs say that this one is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert "no dataset at" in refused(capsys, "--mode", "train", "--compile-mode", mode)


def test_the_mode_has_to_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys)
    assert (
        "required: --mode; --mode is one of lrfind, train, eval, bench, peek, summary, predict, export, compare" in line
    )


def test_a_recipes_values_may_have_no_effect(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what was given is refused: --no-tta on a recipe with views of its own is no contradiction."""
    Path("my.toml").write_text('batch-size = 8\nepochs = 1\ntta = true\ntta-views = "crops"\nmuon-steps = 5\n')
    argv = ["--data", str(dataset.root), "--recipe", "my.toml", "--no-tta", "--image-size", "16", "--out", "runs/a"]
    assert train("--mode", "train", *argv) == 0
    line = refused(capsys, "--mode", "eval", "--checkpoint", "runs/a", "--tta-views", "flip")
    assert "--tta-views flip: has no effect without --tta" in line
    assert run("eval", dataset, "--checkpoint", "runs/a", "--tta", "--tta-views", "flip") == 0


def test_lrfind_takes_the_flags_of_the_training_that_it_is_for(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("lrfind", dataset, "--ema", "0.9", "--save-every", "10m") == 0
    assert "--ema 0.9 --save-every 10m" in capsys.readouterr().out


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> set[str]:
    """The flags that a help shows."""
    with pytest.raises(SystemExit, match="0"):
        train(*argv, "--help")
    text = capsys.readouterr().out.split("\nother names:")[0]
    return set(re.findall(r"^  --([a-z-]+)", text, re.MULTILINE))


@pytest.mark.parametrize("mode", WHAT)
def test_the_help_of_a_mode_shows_its_flags(capsys: pytest.CaptureFixture[str], mode: str) -> None:
    used = {name.replace("_", "-") for name, modes in uses().items() if mode in modes}
    assert shown(capsys, "--mode", mode) == used | {"mode"}
    everything = {name.replace("_", "-") for name in uses()}
    assert shown(capsys) == everything | {"mode"}


@pytest.mark.parametrize(
    ("word", "flag"),
    [
        ("--imgsz", "--image-size"),
        ("--img-size", "--image-size"),
        ("-b", "--batch-size"),
        ("--bs", "--batch-size"),
        ("--lr", "--max-lr"),
        ("--wd", "--weight-decay"),
        ("-j", "--threads"),
        ("--workers", "--threads"),
        ("--num-workers", "--threads"),
    ],
)
def test_flags_as_other_programs_call_them(word: str, flag: str) -> None:
    """One key, whatever it is called, in both spellings of a value."""
    key = flag.removeprefix("--").replace("-", "_")
    for words in ([word, "8"], [f"{word}=8"] if word.startswith("--") else [f"{word}8"]):
        assert parse(["--mode", "train", *words])[2] == parse(["--mode", "train", flag, "8"])[2] == {key: "8"}


def test_other_names_are_in_one_place_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for mode, named, not_named in (("train", "--workers", "--zz"), ("predict", "--workers", "--imgsz")):
        with pytest.raises(SystemExit, match="0"):
            train("--mode", mode, "--help")
        text = capsys.readouterr().out
        assert text.count(named) == 1
        assert text.index("other names:") < text.index(named)
        assert not_named not in text


def test_an_error_names_the_flag_as_the_help_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--image-size 2: must be at least 8" in refused(capsys, "--mode", "train", "--imgsz", "2")
    assert "--imgsze: there is no such flag; did you mean --imgsz?" in refused(
        capsys, "--mode", "train", "--imgsze", "2"
    )
    assert "--threads: --mode export does not use it" in refused(capsys, "--mode", "export", "--workers", "2")
