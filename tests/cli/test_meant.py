"""Words that are spelt wrong: the line names the one that was meant, whatever reads it."""

import sys
from pathlib import Path

import pytest

from feedline import Dataset, InputError, Loader
from feedline import __main__ as program
from feedline.cli.parser import parse
from feedline.convert import build
from tests.cli.commands import refused

TRAIN = "--mode train"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("--mode trian", "train"),
        (f"{TRAIN} --batchsize 8", "--batch-size"),
        (f"{TRAIN} --Batch_Size 8", "--batch-size"),
        (f"{TRAIN} --shedule onecycle", "--schedule"),
        (f"{TRAIN} --no-filp", "--no-flip"),
        (f"{TRAIN} --optimizer sdg", "sgd"),
        (f"{TRAIN} --crop centre", "center"),
        (f"{TRAIN} --device gpu", "cuda"),
        (f"{TRAIN} --max-lr aut", "auto"),
        (f"{TRAIN} --augment flop", "flip"),
        (f"{TRAIN} --augment random_resized_crop", "random-resized-crop"),
        (f"{TRAIN} --recipe Demo", "demo"),
        (f"{TRAIN} --recipe mine.tolm", None),
        (f"{TRAIN} --recipe min.toml", "mine.toml"),
        (f"{TRAIN} --recipe mine.toml", "batch-size"),
        (f"{TRAIN} --recipe words.toml", "trapezoid"),
        (f"{TRAIN} --recipe recipes/demo.toml", "demo"),
        (f"{TRAIN} --recipe options.toml", None),
        (f"{TRAIN} --recipe table.toml", None),
        ("--mode export --to onxx", "onnx"),
        ("train --data x", "--mode train"),
        (f"--mode eval {'x' * 300}", None),
        ("--mode eval some", "--data some"),
        ("--mode eval a/last.pt", "--checkpoint a/last.pt"),
        ("--mode train a", "--resume a"),
    ],
)
def test_train_names_what_was_meant(capsys: pytest.CaptureFixture[str], line: str, meant: str | None) -> None:
    Path("some").mkdir()
    Path("a").mkdir()
    Path("a/last.pt").touch()
    Path("mine.toml").write_text("batch-sise = 8\n")
    Path("words.toml").write_text('schedule = "trapezoide"\n')
    Path("options.toml").write_text('mode = "train"\n')
    Path("table.toml").write_text("[train]\nepochs = 2\n")
    said = refused(capsys, *line.split())
    assert said.endswith(f"; did you mean {meant}?") if meant else "did you mean" not in said


def test_a_folder_may_be_called_as_a_mode() -> None:
    assert parse(["train", "--mode", "predict"])[1]["inputs"] == ("train",)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("--sorce x", "--source"),
        ("--val_fraction 0.2", "--val-fraction"),
        ("--packs jpg", "jpeg"),
        ("--fail-on leeks", "leaks"),
        ("--near-duplicates atuo", "auto"),
    ],
)
def test_the_build_names_what_was_meant(capsys: pytest.CaptureFixture[str], line: str, meant: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        sys.exit(build.main(line.split()))
    err = capsys.readouterr().err
    assert err.endswith(f"; did you mean {meant}?\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "start", "end"),
    [
        ("trian", "feedline: COMMAND: invalid choice: ", "; did you mean train?"),
        ("", "feedline: the following arguments are required: COMMAND", ""),
        ("verify --al x --alll", "feedline verify: --alll: there is no such flag", "; did you mean --all?"),
        ("compare --oot x a b", "feedline compare: --oot: there is no such flag", "; did you mean --out?"),
        ("train --mode --help", "train.py: --mode: expected one argument", "; --mode is one of lrfind, train, eval"),
    ],
)
def test_a_command_that_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str], line: str, start: str, end: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        sys.exit(program.main(line.split()))
    err = capsys.readouterr().err
    assert err.startswith(start)
    assert end in err
    assert err.count("\n") == 1


def test_a_loader_names_what_was_meant(dataset: Dataset) -> None:
    with pytest.raises(InputError, match=r"shufle: no such option; did you mean shuffle\?"):
        Loader(dataset, shufle=True)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"store=rwa: .*; did you mean raw\?"):
        Loader(dataset, store="rwa")  # type: ignore[arg-type]
