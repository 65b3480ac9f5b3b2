"""When a run compiles its network."""

import dataclasses
import importlib.util
import shutil
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch

from feedline.pipeline.errors import InputError
from feedline.training import checkpoint, compiling
from feedline.training.ranks import Ranks
from feedline.training.step import TrainStep
from tests.training.conftest import Build, Make, small_model

CPU, GPU = torch.device("cpu"), torch.device("cuda")
LONG = compiling.FEWEST_STEPS


@pytest.mark.parametrize(
    ("device", "steps", "values", "known", "compiles"),
    [
        (GPU, LONG, {}, {}, True),
        (GPU, LONG - 1, {}, {}, False),
        (CPU, 100 * LONG, {}, {}, False),
        (GPU, LONG, {}, {"possible": False}, False),
        (GPU, 2 * LONG, {"image_size": "16@0,24@1"}, {}, True),
        (GPU, 2 * LONG - 1, {"image_size": "16@0,24@1"}, {}, False),
        (GPU, 2 * LONG, {"image_size": "16@0,24@1,16@2"}, {}, True),
        (GPU, 1, {}, {"before": True}, True),
        (GPU, LONG, {}, {"before": False}, False),
        (GPU, LONG, {}, {"before": True, "possible": False}, False),
        (CPU, LONG, {}, {"before": True}, False),
        (CPU, 1, {"compile": True}, {"before": False}, True),
        (GPU, LONG, {"compile": False}, {"before": True}, False),
        (GPU, 1, {"compile_mode": "reduce-overhead"}, {}, True),
        (GPU, 1, {"compile_mode": "max-autotune"}, {"before": False}, True),
        (GPU, 1, {"compile_mode": "default"}, {}, False),
        (GPU, LONG, {"compile_mode": "reduce-overhead", "compile": False}, {}, False),
    ],
)
def test_when_a_run_is_compiled(
    config: Make, device: torch.device, steps: int, values: dict[str, Any], known: dict[str, bool], compiles: bool
) -> None:
    """Where and when it pays, and as before in a run that is resumed; a flag overrides all that."""
    assert compiling.decide(config(**values), device, steps, **known) is compiles


@pytest.mark.parametrize(
    ("device", "ranks", "asked", "mode"),
    [
        (GPU, 1, "auto", "reduce-overhead"),
        (GPU, 2, "auto", "default"),
        (CPU, 1, "auto", "default"),
        (GPU, 1, "default", "default"),
        (GPU, 2, "reduce-overhead", "reduce-overhead"),
    ],
)
def test_how_a_run_is_compiled(config: Make, device: torch.device, ranks: int, asked: str, mode: str) -> None:
    """With CUDA graphs where that was measured, on one GPU."""
    assert compiling.mode(config(compile_mode=asked), device, Ranks(0, ranks, 0, ranks)) == mode


@pytest.fixture
def gpu_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with a GPU, Triton, a compiler and Python's headers, for those who look."""
    (tmp_path / "Python.h").touch()
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "found")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name == "clang" else None)
    monkeypatch.setattr(sysconfig, "get_path", lambda *_: str(tmp_path))
    return monkeypatch


def test_what_torch_needs_to_compile_for_a_gpu(gpu_here: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert compiling.missing(GPU) is None
    (tmp_path / "Python.h").unlink()
    assert "Python's headers" in str(compiling.missing(GPU))
    gpu_here.setattr(shutil, "which", lambda _: None)
    assert compiling.missing(GPU) == "a C compiler (gcc or clang)"
    gpu_here.setattr(torch.cuda, "get_device_capability", lambda _: (6, 1))
    assert "capability 7.0" in str(compiling.missing(GPU))
    gpu_here.setattr(importlib.util, "find_spec", lambda _: None)
    assert compiling.missing(GPU) == "the package triton"
    assert compiling.missing(CPU) is None


def test_the_compiler_that_is_named_is_the_one_that_counts(gpu_here: pytest.MonkeyPatch) -> None:
    gpu_here.setenv("CC", "icx")
    assert compiling.missing(GPU) == "a C compiler (icx)"
    gpu_here.setenv("CC", "clang")
    assert compiling.missing(GPU) is None


def test_compiling_that_would_fail_is_refused(config: Make, gpu_here: pytest.MonkeyPatch) -> None:
    gpu_here.setattr(shutil, "which", lambda _: None)
    with pytest.raises(InputError, match=r"compile=True: needs a C compiler \(gcc or clang\)"):
        TrainStep(config(compile=True), small_model(), GPU, 0.1)


def test_a_long_run_says_why_it_is_not_compiled(
    config: Make, gpu_here: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def long(steps: int) -> Any:
        return type("OfManySteps", (), {"device": GPU, "__len__": lambda _: steps})()

    c = config(epochs=3)
    decided = compiling.with_compile(c, long(LONG)).run
    assert (decided.compile, decided.compile_mode) == (True, "reduce-overhead")
    gpu_here.setattr(shutil, "which", lambda _: None)
    assert compiling.with_compile(c, long(10)).run.compile is False
    assert not caplog.messages, "a short one would not be compiled at any rate"
    assert compiling.with_compile(c, long(LONG)).run.compile is False
    assert caplog.messages == [
        "not compiled, which makes a long run on a GPU faster, because it needs a C compiler (gcc or clang)"
    ]
    assert compiling.with_compile(config(compile=False), long(LONG)).run.compile is False
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("sizes", ["16", "16@0,24@1", "16@0,24@1,16@2"])
def test_cudnn_searches_in_runs_that_are_long_enough(
    config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch, sizes: str
) -> None:
    """Steps of the whole run, for each size: whatever was set before."""
    c = config(epochs=3, image_size=sizes)
    steps = 3 * len(trainer(c).train) // len({side.split("@")[0] for side in sizes.split(",")})
    for fewest, searches in ((steps, True), (steps + 1, False), (1, True)):
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", not searches)
        monkeypatch.setattr(compiling, "FEWEST_TO_SEARCH", fewest)
        with compiling.searching_convolutions(c, trainer(c, str(fewest)).train):
            assert torch.backends.cudnn.benchmark is searches
        assert torch.backends.cudnn.benchmark is not searches, "as it was before"


def test_a_checkpoint_has_what_was_decided(config: Make, trainer: Build) -> None:
    run = trainer(config(epochs=1))
    assert run.config.run.compile is run.state.config.run.compile is False
    run.fit()
    assert checkpoint.load(run.out / "last.pt").config.run.compile is False


def test_a_resumed_run_stays_as_it_was(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is compiled where that can be done, and of an older version one that is not."""
    first = trainer(config(epochs=1))
    first.fit()
    last = checkpoint.load(first.out / "last.pt")
    asked: list[bool | None] = []

    def decide(*_: Any, before: bool | None, **__: Any) -> bool:
        asked.append(before)
        return False

    monkeypatch.setattr(compiling, "decide", decide)
    for value in (True, False, None):
        was = dataclasses.replace(last.config, run=dataclasses.replace(last.config.run, compile=value))
        trainer(config(epochs=1), resume=dataclasses.replace(last, config=was))
    trainer(config(epochs=1))
    assert asked == [True, False, False, None]


@pytest.mark.gpu
def test_long_runs_are_compiled_on_the_gpu(config: Make, trainer: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trainer(config(device="cuda", epochs=1))
    assert run.config.run.compile is False
    monkeypatch.setattr(compiling, "FEWEST_STEPS", 1)
    run = trainer(config(device="cuda", epochs=1), "compiled")
    assert run.config.run.compile is (compiling.missing(torch.device("cuda", 0)) is None)
    run.fit()
