"""feedline completion: what bash offers."""

import subprocess
import sys
from pathlib import Path

import pytest

from feedline.__main__ import main

COMPLETE = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_feedline; echo "${COMPREPLY[@]}"'


@pytest.fixture
def script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    pytest.importorskip("shtab", reason="shtab is not installed")
    assert main(["completion", "bash"]) == 0
    path = tmp_path / "feedline"
    path.write_text(capsys.readouterr().out)
    return path


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["tr"], ["train"]),
        (["comp"], ["compare", "completion"]),
        (["train", "--mod"], ["--mode"]),
        (["train", "--mode", "lr"], ["lrfind"]),
        (["train", "--image-s"], ["--image-size"]),
        (["train", "--imgs"], []),
        (["convert", "--near"], ["--near-duplicates"]),
        (["verify", "--js"], ["--json"]),
    ],
)
def test_bash_offers_commands_flags_and_words(script: Path, words: list[str], offered: list[str]) -> None:
    bash = ["bash", "-c", COMPLETE, "bash", str(script), "feedline", *words]
    done = subprocess.run(bash, capture_output=True, text=True, check=True)
    assert done.stdout.split() == offered


def test_without_the_package_a_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "pip install 'feedline[completion]'" in err
