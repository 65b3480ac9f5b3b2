"""--json and --quiet: what reaches stdout and stderr."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from feedline import Dataset, Loader
from feedline.pipeline.loader import Batch
from tests.cli.commands import run, train

Captured = pytest.CaptureFixture[str]
BENCH = ("--rounds", "1", "--seconds", "0.01", "--engine", "torch")


def answer(capsys: Captured) -> dict[str, Any]:
    """The one object on stdout, which is strict JSON."""
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    parsed: dict[str, Any] = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return parsed


@pytest.fixture
def trained(dataset: Dataset, capsys: Captured) -> str:
    assert run("train", dataset, "--out", "runs/a") == 0
    capsys.readouterr()
    return "runs/a"


def test_training_gives_its_summary(dataset: Dataset, capsys: Captured) -> None:
    assert run("train", dataset, "--json", "--out", "runs/a") == 0
    result = answer(capsys)
    written = json.loads(Path("runs/a/summary.json").read_text())
    assert result == {"mode": "train", "out": "runs/a", "report": "runs/a/report.html", **written}


def test_what_was_printed_goes_to_stderr(dataset: Dataset, capsys: Captured) -> None:
    assert run("train", dataset, "--json", "--out", "runs/a") == 0
    err = capsys.readouterr().err
    assert re.search(r"^epoch   2/2 ", err, re.MULTILINE)
    assert "best val top-1" in err


@pytest.mark.parametrize(
    ("mode", "file"), [("eval", "eval.json"), ("bench", "bench.json"), ("lrfind", "lr_range.json")]
)
def test_other_modes_give_what_their_file_has(
    dataset: Dataset, trained: str, capsys: Captured, mode: str, file: str
) -> None:
    flags = {"eval": ("--checkpoint", trained), "bench": BENCH, "lrfind": ()}[mode]
    assert run(mode, dataset, "--json", "--out", "x", *flags) == 0
    result = answer(capsys)
    written = json.loads((Path("x") / file).read_text())
    assert result["mode"] == mode
    assert result["out"] == "x"
    assert written.items() <= result.items()
    if mode == "lrfind":
        assert result["max_lr"] == written["suggestions"].get(written["recommended"])


def test_predictions_are_in_the_object_unless_a_file_takes_them(
    dataset: Dataset, trained: str, capsys: Captured
) -> None:
    Path("no.jpg").write_text("no image")
    images = str(dataset.root / "val")
    argv = ("--mode", "predict", "--checkpoint", trained, "--top", "2", images, "no.jpg", "--json")
    assert train(*argv) == 0
    result = answer(capsys)
    assert result["images"] == len(result["predictions"]) == 32
    assert [entry["path"] for entry in result["unread"]] == ["no.jpg"]
    first = result["predictions"][0]
    assert first["path"].startswith(images)
    assert len(first["top"]) == 2
    assert first["top"][0].keys() == {"class", "words", "probability"}
    assert train(*argv, "--out", "p.csv") == 0
    result = answer(capsys)
    assert (result["out"], result["images"], "predictions" in result) == ("p.csv", 32, False)
    assert len(Path("p.csv").read_text().splitlines()) == 33


def test_where_nothing_can_be_predicted_the_object_says_so(trained: str, capsys: Captured) -> None:
    Path("no.jpg").write_text("no image")
    assert train("--mode", "predict", "--checkpoint", trained, "no.jpg", "--json") == 1
    result = answer(capsys)
    assert (result["images"], len(result["unread"]), result["predictions"]) == (0, 1, [])


@pytest.mark.parametrize(
    "argv",
    [
        ("--mode", "train", "--data", "nowhere", "--json"),
        ("--mode", "train", "--json", "--zzz"),
        ("--mode", "eval", "--json"),
        ("--mode", "peek", "--json"),
        ("--mode", "predict", "x.png", "--format", "csv", "--json"),
    ],
)
def test_an_error_leaves_stdout_empty(capsys: Captured, argv: tuple[str, ...]) -> None:
    assert train(*argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_a_run_that_diverges_or_is_stopped_leaves_stdout_empty(
    dataset: Dataset, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging = ("--optimizer", "adam", "--max-lr", "1e30", "--log-every", "2", "--json")
    assert run("train", dataset, *diverging, "--out", "runs/a") == 2
    assert capsys.readouterr().out == ""
    iterate = Loader.__iter__

    def interrupted(self: Loader) -> Iterator[Batch]:
        monkeypatch.setattr(Loader, "__iter__", iterate)
        signal.raise_signal(signal.SIGTERM)
        yield from iterate(self)

    monkeypatch.setattr(Loader, "__iter__", interrupted)
    assert run("train", dataset, "--json", "--out", "runs/b") == 128 + signal.SIGTERM
    out, err = capsys.readouterr()
    assert out == ""
    assert "stopped and saved; resume it with:" in err


def test_quiet_leaves_the_last_lines(dataset: Dataset, trained: str, capsys: Captured) -> None:
    assert run("train", dataset, "--quiet", "--out", "runs/b") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["best", "report:"]
    assert run("eval", dataset, "--quiet", "--checkpoint", trained, "--out", "e") == 0
    assert capsys.readouterr().out.startswith("runs/a/best.pt: top-1")
    assert run("bench", dataset, "--quiet", "--out", "b", *BENCH) == 0
    assert capsys.readouterr().out.lstrip().startswith("images/s ")
    assert run("lrfind", dataset, "--quiet", "--out", "l") == 0
    assert re.match(r"\d+ steps", capsys.readouterr().out)
    assert train("--mode", "predict", "--checkpoint", trained, str(dataset.root / "val"), "--quiet") == 0
    assert len(capsys.readouterr().out.splitlines()) == 32


def test_quiet_leaves_warnings_and_errors(dataset: Dataset, trained: str, capsys: Captured) -> None:
    assert run("eval", dataset, "--quiet", "--checkpoint", trained, "--split", "70-30", "--out", "e") == 0
    assert capsys.readouterr().out.startswith("warning: ")
    assert train("--mode", "train", "--data", "nowhere", "--quiet") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_both(dataset: Dataset, capsys: Captured) -> None:
    """The object, and the last lines on stderr."""
    assert run("train", dataset, "--quiet", "--json", "--out", "runs/b") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["mode"] == "train"
    lines = [line for line in err.splitlines() if not line.startswith("warning: this run has")]
    assert [line.split()[0] for line in lines] == ["best", "report:"]
