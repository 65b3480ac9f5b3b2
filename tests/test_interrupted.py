"""Ctrl-C at awkward moments, lack of memory, and short versions of the soak tests."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from feedline import Dataset, Loader
from feedline.cli.modes import train as train_mode
from feedline.pipeline.engines.workers import Task
from feedline.pipeline.loader import Batch
from feedline.report.page import Page
from feedline.training import checkpoint
from feedline.training.reporter import Reporter
from tests.cli.commands import SMALL, refused, run, train
from tests.conftest import convert
from tests.soak import fuzz, kills, loader


@pytest.fixture(autouse=True)
def in_a_new_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Sends Ctrl-C to this process, once, just before a loader of a part gives its batch k."""
    iterate, sent = Loader.__iter__, list[int]()

    def interrupt_at(part: str, k: int) -> None:
        def interrupted(self: Loader) -> Iterator[Batch]:
            for number, batch in enumerate(iterate(self)):
                if self.part == part and number == k and not sent:
                    sent.append(1)
                    signal.raise_signal(signal.SIGINT)
                yield batch

        monkeypatch.setattr(Loader, "__iter__", interrupted)

    return interrupt_at


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


@pytest.mark.parametrize(("part", "k", "position"), [("train", 0, (0, 1)), ("val", 1, (0, 12)), ("val", 3, (0, 12))])
def test_ctrl_c_in_the_first_batch_and_in_the_evaluation(
    dataset: Dataset,
    capsys: pytest.CaptureFixture[str],
    interrupt: Callable[[str, int], None],
    part: str,
    k: int,
    position: tuple[int, int],
) -> None:
    before = children()
    interrupt(part, k)
    assert run("train", dataset, "--out", "runs/a") == 128 + signal.SIGINT
    assert "resume it with:\n  python train.py --mode train --resume runs/a" in capsys.readouterr().out
    saved = checkpoint.load(Path("runs/a/last.pt")).position
    assert (saved.epoch, saved.step) == position
    assert not children() - before


def test_ctrl_c_in_the_lr_test(
    dataset: Dataset, capsys: pytest.CaptureFixture[str], interrupt: Callable[[str, int], None]
) -> None:
    before = children()
    interrupt("train", 3)
    assert run("lrfind", dataset) == 130
    assert capsys.readouterr().err == "train.py: interrupted\n"
    assert not Path("runs").exists()
    assert not children() - before


def test_a_second_ctrl_c_exits_at_once(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    iterate = Loader.__iter__

    def twice(self: Loader) -> Iterator[Batch]:
        for batch in iterate(self):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            yield batch

    monkeypatch.setattr(Loader, "__iter__", twice)
    assert run("train", dataset, "--out", "runs/a") == 130
    assert not Path("runs/a/last.pt").exists()


ROOT = Path(__file__).parents[1]
DONE = "the training is done and saved; its report is being written, a second signal ends that\n"
AT_THE_END: dict[str, tuple[Any, str, int]] = {  # what is called, and how often before: in the order of time
    "the last epoch is printed": (Reporter, "print_epoch", 2),
    "curves are drawn": (Reporter, "close", 1),
    "the summary is written": (Reporter, "summarise", 1),
    "loaders are cleared away": (Task, "cancel", 1),
    "the report is written": (Page, "write", 1),
    "the last lines are printed": (train_mode, "commands_after", 1),
}


class Exited(BaseException):
    """In place of the end of the process."""


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Exceptions that Python lost in a finalizer, and would print."""
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    return lost


def send_at(monkeypatch: pytest.MonkeyPatch, moment: str, *signals: signal.Signals) -> list[int]:
    """Sends signals to this process at a moment of a run; returns a list that has an entry from then on."""
    owner, name, call = AT_THE_END[moment]
    function, calls, sent = getattr(owner, name), list[int](), list[int]()

    def interrupted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            sent.append(1)
            for signum in signals:
                signal.raise_signal(signum)
        return function(*args, **options)

    monkeypatch.setattr(owner, name, interrupted)
    return sent


@pytest.mark.parametrize(
    ("moment", "signum"), list(zip(AT_THE_END, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP] * 2, strict=True))
)
def test_a_signal_behind_the_last_epoch_lets_the_report_be_written(
    dataset: Dataset,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lost: list[Any],
    moment: str,
    signum: signal.Signals,
) -> None:
    sent = send_at(monkeypatch, moment, signum)
    assert run("train", dataset, "--out", "runs/a") == 0
    assert sent
    out, err = capfd.readouterr()
    assert err.count(DONE) == 1
    assert "evaluate it with:" in out
    assert Path("runs/a/report.html").exists()
    assert not lost


@pytest.mark.parametrize("moment", ["curves are drawn", "the report is written"])
def test_a_second_signal_behind_the_last_epoch_ends_at_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], lost: list[Any], moment: str
) -> None:
    statuses: list[int] = []

    def ended(status: int) -> None:
        statuses.append(status)
        raise Exited

    monkeypatch.setattr(os, "_exit", ended)
    sent = send_at(monkeypatch, moment, signal.SIGTERM, signal.SIGTERM)
    with pytest.raises(Exited):
        run("train", dataset, "--out", "runs/a")
    assert sent
    assert statuses == [128 + signal.SIGTERM]
    assert capfd.readouterr().err.endswith(f"{DONE}feedline: interrupted\n")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize(("count", "said"), [(1, ""), (2, "train.py: interrupted\n")])
def test_signals_while_the_process_exits(signum: signal.Signals, count: int, said: str) -> None:
    code = f"""
import atexit, signal, sys
from feedline.training.stopping import until_exit

def command():
    atexit.register(lambda: [signal.raise_signal({int(signum)}) for _ in range({count})])
    print("done")
    return 0

sys.exit(until_exit(command, "train.py"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0 if count == 1 else 128 + signum, "done\n", said)


class Hungry(nn.Module):
    """A network that runs out of memory."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.layer, self.error = nn.Linear(1, 4), error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise self.error


@pytest.mark.parametrize("mode", ["train", "lrfind", "bench"])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "the GPU"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "the host"),
        (MemoryError(), "the host"),
    ],
)
def test_lack_of_memory_is_one_line_that_suggests_a_batch_size(
    dataset: Dataset,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    error: Exception,
    message: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 80 * 2**30))
    flags = ["--store", "raw", "--engine", "torch", "--no-amp"]
    data = ["--mode", mode, "--data", str(dataset.root)]
    line = refused(capsys, *data, *SMALL, *flags, network=lambda _: Hungry(error))
    assert f"--batch-size 8: {message}" in line
    assert "has no memory left; try --batch-size 4 or --amp" in line


def test_other_errors_are_not_taken_for_a_lack_of_memory(dataset: Dataset) -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run("train", dataset, network=lambda _: Hungry(RuntimeError("a bug")))


def test_an_earlier_checkpoint_can_be_resumed(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command from the error message about a damaged last checkpoint."""
    assert run("train", dataset, "--out", "runs/whole") == 0
    last = Path("runs/whole/last.pt")
    before = checkpoint.load(last).model
    last.write_bytes(last.read_bytes()[:-7])
    line = refused(capsys, "--mode", "train", "--resume", "runs/whole")
    assert line.endswith("resume it with --resume runs/whole/previous.pt")
    assert train("--mode", "train", "--resume", "runs/whole/previous.pt") == 0
    after = checkpoint.load(last).model
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_killed_runs_give_the_same_result(dataset: Dataset, tmp_path: Path) -> None:
    """The long version, with ResNet18: python -m tests.soak kills --kills 60."""
    counts = kills.run(dataset.root, tmp_path, kills=4, seed=3, small=True)
    assert counts["runs"] >= 1, "each has the result of the one that was not killed"


def test_fuzzed_readers(tiny_source: Path, tmp_path: Path) -> None:
    """The long version: python -m tests.soak fuzz."""
    copy = convert(tiny_source, tmp_path / "copy")
    counts = fuzz.run(copy, tmp_path / "copy", fuzz.small_state(), examples=60)
    assert counts["inputs"] >= 7 * 60
    assert len(counts["refused in a line"]) == 7


@pytest.mark.parametrize("engine", ["dali", "torch"])
def test_many_epochs_have_every_image(dataset: Dataset, engine: Any) -> None:
    """The long version: python -m tests.soak loader."""
    gc.collect()  # closes the loaders of other tests
    result = loader.soak(dataset, "jpeg", engine, epochs=4, batch_size=16)
    assert result["images"] == 4 * 80
    for kind in ("threads", "descriptors"):
        assert result[kind][1] <= result[kind][0], "no more after the last epoch than after the second"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_while_it_imports_says_a_line(number: signal.Signals) -> None:
    program = (
        "import os, runpy, signal, sys, types\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background of a shell script
        "late = types.ModuleType('feedline.imports')\n"
        f"late.__getattr__ = lambda name: os.kill(os.getpid(), {int(number)})\n"
        "sys.modules['feedline.imports'] = late\n"
        "runpy.run_path('train.py', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (128 + number, "train.py: interrupted\n")
