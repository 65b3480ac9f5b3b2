import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from feedline import Dataset
from feedline.cli.machine import busy_warning, registered, used_by_others
from tests.cli.commands import run


@pytest.mark.parametrize(
    ("load", "cores", "threads", "others", "warns"),
    [
        (0.0, 2, 2, 0, False),
        (0.3, 2, 2, 0, False),  # what this process's own start leaves
        (1.0, 2, 2, 0, True),
        (1.0, 2, 1, 0, False),
        (0.0, 2, 2, 1, True),  # another run has only just started
        (1.0, 2, 1, 1, False),
        (2.0, 2, 1, 2, True),
        (8.0, 64, 64, 0, False),
        (40.0, 64, 64, 0, True),
    ],
)
def test_a_run_warns_when_its_threads_do_not_find_a_core_each(
    load: float, cores: int, threads: int, others: int, warns: bool
) -> None:
    warning = busy_warning(load, cores, threads, others)
    assert (warning is not None) == warns
    if warning is not None:
        assert f"other programs use {load:.1f} of" in warning
        assert ("--torch-threads" in warning) == (threads > 1)  # fewer than one there are not
        assert ("other run" in warning) == (others > 0)
        assert len(warning.splitlines()) == 1


def test_a_run_knows_of_others_that_live(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from feedline.cli.machine import registered\n"
        "with registered(Path(sys.argv[1])) as others: print(others, flush=True); time.sleep(600)"
    )

    def start() -> "subprocess.Popen[str]":
        return subprocess.Popen([sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True)

    with start() as first, start() as second:
        try:
            assert first.stdout is not None
            assert second.stdout is not None
            assert sorted(p.stdout.readline().strip() for p in (first, second) if p.stdout) in (["0", "0"], ["0", "1"])
            with registered(tmp_path) as others:
                assert others == 2
            first.send_signal(signal.SIGKILL)
            first.wait()
            with registered(tmp_path) as others:
                assert others == 1, "the lock of a killed run is gone"
        finally:
            first.kill()
            second.kill()
    with registered(tmp_path) as others:
        assert others == 0
    assert not list(tmp_path.glob("*")), "no file is left"


def test_without_a_folder_nobody_is_known() -> None:
    with registered(None) as others:
        assert others == 0


def test_torch_threads_is_the_number_of_threads_that_torch_uses(dataset: Dataset) -> None:
    before = torch.get_num_threads()
    try:
        assert run("train", dataset, "--epochs", "1", "--torch-threads", "3", "--out", "runs/a") == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_ranks_of_a_run_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with registered(tmp_path) as first, registered(tmp_path) as second:
        assert (first, second) == (0, 0)


def test_it_sees_what_other_programs_use() -> None:
    """A process that computes without a pause; the machine may be busy with others."""
    with subprocess.Popen([sys.executable, "-c", "print('started', flush=True)\nwhile True: pass"], stdout=-1) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            assert used_by_others(1.0) > 0.2
        finally:
            other.kill()
