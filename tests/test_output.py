"""What commands print: to whom it may go, and what may be in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from feedline.console import speaking
from feedline.convert import build
from feedline.output import counted, duration, listed, one_line, safe_output
from tests.convert.helpers import refusal

ROOT = Path(__file__).parents[1]
PRINTS = (
    "import os, sys\nfrom feedline.output import safe_output\n"
    "with safe_output():\n"
    "    print(open(os.devnull).fileno() > 2)\n"
    "    for _ in range(20_000): print('to stdout', flush=True)\n"
    "    print('to stderr', file=sys.stderr); sys.stderr.isatty(); sys.stdin.read()\n"
    "sys.exit(3)\n"
)


def shell(line: str, *, code: str = PRINTS, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a line of bash, in which "$@" is Python with a program, and returns what became of the program."""
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}", "bash", sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "out", "err"),
    [
        ('"$@" | head -1', "True\n", "to stderr\n"),
        ('"$@" 2>&1 | head -1', "True\n", ""),
        ('"$@" >&-', "", "to stderr\n"),
        ('"$@" 2>&- | head -2', "True\nto stdout\n", ""),
        ('"$@" <&- >&- 2>&-', "", ""),
        ('"$@" >/dev/full', "", "to stderr\nthe output could not be written (No space left on device)\n"),
        ('"$@" >/dev/null 2>/dev/full', "", ""),
    ],
)
def test_a_program_whose_output_goes_nowhere_ends_as_it_would(line: str, out: str, err: str) -> None:
    done = shell(line)
    assert (done.returncode, done.stdout, done.stderr) == (3, out, err)


def test_the_command_whose_output_nobody_reads(tiny_source: Path, tmp_path: Path) -> None:
    code = "import sys\nfrom feedline.convert.build import main\nsys.exit(main(sys.argv[1:]))"
    argv = f"--source {tiny_source} --out {tmp_path / 'out'} --packs '' --workers 2"
    done = shell(f'"$@" {argv} 2>&1 | true', code=code)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out/dataset.json").exists()


@pytest.mark.parametrize(("line", "status"), [('"$@" >/dev/full', 1), ('"$@" >&-', 0), ('"$@" | true', 0)])
def test_a_result_that_a_full_disk_loses_is_no_success(line: str, status: int) -> None:
    nested = (
        "import sys\nfrom feedline.output import safe_output\n"
        "with safe_output() as outer:\n"
        "    with safe_output() as ending: print('a result'); code = ending.status(0)\n"
        "    code = outer.status(code)\n"
        "sys.exit(code)"
    )
    assert shell(line, code=nested).returncode == status


@pytest.mark.parametrize(
    "command", ["train --mode summary --image-size 32", "completion bash", "train --help", "--version"]
)
def test_a_command_whose_result_is_lost_says_so(command: str) -> None:
    code = "import sys\nfrom feedline.__main__ import main\nsys.exit(main())"
    done = shell(f'"$@" {command} >/dev/full', code=code)
    assert done.returncode == 1
    assert done.stderr.endswith("the output could not be written (No space left on device)\n")


def test_characters_that_the_encoding_lacks_are_shown_as_codes() -> None:
    code = "from feedline.output import safe_output\nwith safe_output(): print('na\\xefve \\udc80 \\u4e2d')"
    assert shell('"$@"', code=code, PYTHONIOENCODING="ascii").stdout == "na\\xefve \\udc80 \\u4e2d\n"
    assert shell('"$@"', code=code, PYTHONIOENCODING="utf-8").stdout == "naïve \\udc80 中\n"


@pytest.mark.parametrize("name", ["\x1b[2J", "\x9b31m", "\r", "\x08", "\x7f", "\u202e", "\u2066", "\u2028"])
def test_names_reach_the_terminal_as_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    code = name.encode("unicode_escape").decode()
    line = refusal(capsys, tmp_path / f"cat{name}", tmp_path / "out")
    assert f"cat{code[:5]}" in line
    assert name not in line
    with safe_output():
        print(f"a {name}{name} b")
    assert name == "\r" or capsys.readouterr().out == f"a {code}{code} b\n"


def test_a_line_end_in_a_name_begins_no_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "cat\\nbuild.py: all is well: no such file" in refusal(
        capsys, tmp_path / "cat\nbuild.py: all is well", tmp_path / "out"
    )
    assert one_line("שלום naïve 中\t") == "שלום naïve 中\\t"


def test_help_ends_as_usual(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        build.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: ")


@pytest.mark.parametrize(
    ("count", "nouns", "text"),
    [
        (1, ("image",), "1 image"),
        (0, ("image",), "0 images"),
        (2000, ("step",), "2,000 steps"),
        (3, ("class",), "3 classes"),
        (2, ("batch",), "2 batches"),
        (2, ("epoch",), "2 epochs"),
        (2, ("group of images",), "2 groups of images"),
        (2, ("train image", "train images"), "2 train images"),
        (1, ("train image", "train images"), "1 train image"),
    ],
)
def test_what_is_counted_has_its_number(count: int, nouns: tuple[str, ...], text: str) -> None:
    assert counted(count, *nouns) == text


def test_what_is_not_shown_may_have_any_name() -> None:
    """Bytes that are not UTF-8: an error would end a run that is complete."""
    with speaking(quiet=True, json=False):
        print("runs/\udcff")


def test_durations_are_read_at_a_glance() -> None:
    assert [duration(s) for s in (9, 75, 3600 * 3 + 60 * 20)] == ["9 s", "1 min 15 s", "3 h 20 min"]


@pytest.mark.parametrize(
    ("count", "text"), [(0, ""), (2, "a, a"), (3, "a, a and 1 more"), (1202, "a, a and 1,200 more")]
)
def test_a_long_list_says_how_many_it_does_not_name(count: int, text: str) -> None:
    assert listed(["a"] * count, 2) == text
