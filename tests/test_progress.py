"""Progress: a bar on a terminal, a line now and then elsewhere, nothing where it is not wanted."""

import io
import sys
import time

import pytest

from feedline.console import aloud, speaking
from feedline.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the code under test sees."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_lines_every_fifteen_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(100, 0, "reading", unit="images") as progress:
        for second in range(1, 41):
            clock[0] = second
            progress.update(2)
    assert capsys.readouterr().out == "reading images 32/100\nreading images 64/100\n"


def test_figures_are_shown_when_a_line_is_due(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(None, 3, "epoch 1/2", lines=sys.stderr)
    for second in (10, 20, 30):
        clock[0] = second
        progress.step()
        progress.show(f"loss {second}")
    progress.close()
    assert capsys.readouterr() == ("", "epoch 1/2 step 5  loss 20\n")


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress(4, 0, "reading", unit="images") as progress:
        progress.update(4)
        assert "reading" in terminal.getvalue()
        progress.write("a line")
    assert "a line\n" in terminal.getvalue()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("terminal", [True, False])
def test_quiet_shows_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], clock: list[float], terminal: bool
) -> None:
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with speaking(quiet=True, json=False), Progress(4, 0, "reading", lines=sys.stderr) as progress:
        clock[0] = 60
        progress.update(4)
        print("said")
        with aloud():
            print("a result")
    print("after")
    assert stream.getvalue() == ""
    assert capsys.readouterr().out == "a result\nafter\n"
