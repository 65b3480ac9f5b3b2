"""Runs that are compiled say so, and stay so when they are resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from feedline import Dataset
from feedline.training import checkpoint, compiling
from tests.cli.commands import run, train

NOT_SAME = "sums are rounded differently, so the result will not be the same to the bit"


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that were given to torch to compile, which this fixture leaves as they are."""
    given: list[nn.Module] = []

    def keep(network: nn.Module, **_: Any) -> nn.Module:
        given.append(network)
        return network

    monkeypatch.setattr(torch, "compile", keep)
    return given


def test_the_first_line_says_what_is_compiled(
    dataset: Dataset, compiled: list[nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--epochs", "1", "--out"]
    assert run("train", dataset, *flags, "runs/auto") == 0
    assert "compil" not in capsys.readouterr().out
    assert not compiled
    assert run("train", dataset, "--compile", *flags, "runs/a") == 0
    said = capsys.readouterr().out
    assert ", cpu, bf16, compiled; recipe " in said
    assert "\ncompiling, which takes a minute or more before the first step; on a CPU compiled steps are slower" in said
    assert len(compiled) == 1
    assert run("eval", dataset, "--checkpoint", "runs/a") == 0
    assert ", compiled" not in capsys.readouterr().out
    assert len(compiled) == 1
    settings = [json.loads(Path(f"runs/{name}/run.json").read_text())["config"] for name in ("auto", "a")]
    assert [values["compile"] for values in settings] == [False, True]


def test_a_range_test_is_compiled_only_if_asked(
    dataset: Dataset, compiled: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "decide", lambda *_, **__: True)
    assert run("lrfind", dataset) == 0
    assert not compiled
    assert run("lrfind", dataset, "--compile") == 0
    assert len(compiled) == 1


def test_the_benchmark_compiles_what_a_training_would(
    dataset: Dataset, compiled: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = ["--rounds", "1", "--seconds", "0.01", "--store", "raw", "--engine", "torch"]
    assert run("bench", dataset, *bench) == 0
    assert not compiled
    monkeypatch.setattr(compiling, "decide", lambda *_, **__: True)
    assert run("bench", dataset, *bench) == 0
    assert len(compiled) == 1


@pytest.mark.parametrize(
    ("flags", "said", "asked"),
    [
        ([], f"not compiled from here on, so far it was: {NOT_SAME}\n", None),
        (["--no-compile"], f"not compiled from here on, so far it was: {NOT_SAME}\n", False),
        (["--compile"], "", True),
    ],
)
def test_a_compiled_run_is_resumed_on_a_cpu(
    dataset: Dataset,
    compiled: list[nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    said: str,
    asked: bool | None,
) -> None:
    """It goes on without, and says what that changes. --compile insists."""
    with monkeypatch.context() as patch:
        patch.setattr(compiling, "decide", lambda *_, **__: True)
        assert run("train", dataset, "--out", "runs/a") == 0
    assert ", compiled; " in capsys.readouterr().out
    assert train("--mode", "train", "--resume", "runs/a/previous.pt", *flags) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert ("from here on" in printed) is bool(said)
    assert len(compiled) == (2 if asked else 1)
    last = checkpoint.load(Path("runs/a/last.pt"))
    assert (last.asked["config"]["compile"], last.config.run.compile) == (asked, bool(asked))


def older_run(dataset: Dataset, **values: Any) -> tuple[list[str], Path]:
    """A run of a recipe's file, whose checkpoint has values of an older version: its command, and the checkpoint."""
    Path("my.toml").write_text("batch-size = 8\nimage-size = 16\nepochs = 2\n")
    command = ["--mode", "train", "--data", str(dataset.root), "--recipe", "my.toml", "--device", "cpu"]
    assert train(*command, "--out", "runs/a") == 0
    path = Path("runs/a/previous.pt")
    content = torch.load(path, weights_only=True)
    for settings in (content["config"], content["asked"]["config"], content["asked"]["recipe"]):
        settings.update(values)
    torch.save(content, path)
    return command, path


def test_a_run_of_an_older_version_stays_as_it_was(
    dataset: Dataset,
    compiled: list[nn.Module],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It says that nobody asked for it; its recipe now leaves it open. Still the command that began it goes on."""
    mine, path = older_run(dataset, compile=False, compile_mode="default")
    monkeypatch.setattr(compiling, "decide", lambda *_, before, **__: before is not False)
    assert train(*mine, "--resume", str(path)) == 0
    assert not compiled
    assert "compile" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("command", [True, False])
def test_a_compiled_run_of_an_older_version_keeps_its_mode(
    dataset: Dataset, compiled: list[nn.Module], monkeypatch: pytest.MonkeyPatch, command: bool
) -> None:
    """Also where the command that began it has a recipe, which leaves the mode open now."""
    monkeypatch.setattr(compiling, "decide", lambda *_, **__: True)
    mine, path = older_run(dataset, compile_mode="default")
    monkeypatch.setattr(compiling, "mode", lambda config, *_: config.run.compile_mode)
    assert train(*(mine if command else mine[:2]), "--resume", str(path)) == 0
    assert checkpoint.load(Path("runs/a/last.pt")).config.run.compile_mode == "default"
    assert len(compiled) == 2


def test_a_mode_with_cuda_graphs_is_asked_for_alone(
    dataset: Dataset, compiled: list[nn.Module], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", dataset, "--compile-mode", "reduce-overhead", "--out", "runs/a") == 0
    assert ", compiled; " in capsys.readouterr().out
    assert run("lrfind", dataset, "--compile-mode", "max-autotune") == 0
    assert ", compiled; " in capsys.readouterr().out
    assert train("--mode", "train", "--resume", "runs/a/previous.pt") == 0
    assert len(compiled) == 3
    settings = json.loads(Path("runs/a/run.json").read_text())["config"]
    assert (settings["compile"], settings["compile_mode"]) == (True, "reduce-overhead")
