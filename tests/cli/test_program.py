"""The installed command, and the program names in messages."""

import subprocess
import sys
from pathlib import Path

import pytest

import feedline
from feedline import Dataset
from feedline import __main__ as program
from feedline.model import resnet18
from feedline.program import command_line, short_name
from tests.cli.commands import QUICK, refused, run, train

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("called", "command", "name"),
    [
        ("train.py", "python train.py", "train.py"),
        ("/home/me/feedline/train.py", "python /home/me/feedline/train.py", "train.py"),
        ("../train.py", "python ../train.py", "train.py"),
        ("my trainer/convert/build.py", "python 'my trainer/train.py'", "train.py"),
        ("convert/build.py", "python train.py", "train.py"),
        ("../convert/build.py", "python ../train.py", "train.py"),
        (str(ROOT / "train.py"), "python train.py", "train.py"),
        ("/opt/venv/bin/feedline", "feedline train", "feedline train"),
        ("/lib/site-packages/feedline/__main__.py", "python -m feedline train", "feedline train"),
    ],
)
def test_messages_use_the_name_that_was_called(
    monkeypatch: pytest.MonkeyPatch, called: str, command: str, name: str
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [called])
    assert (command_line("train"), short_name("train")) == (command, name)


def test_a_script_with_a_network_of_its_own_is_named(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["my nets/mine.py"])
    assert run("train", dataset, "--epochs", "1", "--out", "runs/a") == 0
    assert "  python 'my nets/mine.py' --mode eval --checkpoint runs/a/best.pt\n" in capsys.readouterr().out
    assert refused(capsys, "--mode", "train", "--epochs", "0").startswith("mine.py: --epochs 0")
    assert refused(capsys, "--mode", "train", "--epochs", "0", network=resnet18).startswith("train.py: --epochs 0")


def test_a_script_that_is_started_in_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "convert")
    monkeypatch.setattr(sys, "argv", ["build.py"])
    assert command_line("train") == "python ../train.py"


def test_the_commands_are_those_of_the_scripts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny_source: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/venv/bin/feedline"])
    convert = ["--source", str(tiny_source), "--out", "data", "--workers", "1"]
    assert program.main(["convert", *convert]) == 0
    assert program.main(["train", "--mode", "summary", "--data", "data"]) == 0
    assert "Total params" in capsys.readouterr().out
    line = refused(capsys, "--mode", "train", "--data", "data", "--epochs", "0")
    assert line == "feedline train: --epochs 0: must be at least 1 and below 1,000,000"
    with pytest.raises(SystemExit):
        train("--help")
    assert capsys.readouterr().out.startswith("usage: feedline train ")
    assert train("--mode", "lrfind", "--data", "data", *QUICK) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("  feedline train --mode train --recipe demo --data")


def test_version_and_help_need_no_torch() -> None:
    code = (
        "import sys\nfrom feedline.__main__ import main\n"
        "try:\n    main([sys.argv[1]])\nfinally:\n    assert 'torch' not in sys.modules"
    )
    outputs = []
    for flag in ("--version", "--help"):
        command = [sys.executable, "-c", code, flag]
        outputs.append(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert outputs[0] == f"feedline {feedline.__version__}\n"
    assert [line.split()[0] for line in outputs[1].splitlines() if line.startswith("  ") and "--" not in line] == [
        "convert",
        "train",
        "verify",
        "verify-export",
        "compare",
        "completion",
    ]


@pytest.mark.parametrize("argv", [[], ["bake"]])
def test_an_unknown_command_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.main(argv)
    assert "COMMAND" in capsys.readouterr().err
