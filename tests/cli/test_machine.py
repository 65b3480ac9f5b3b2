import subprocess
import sys

import pytest
import torch

from feedline import Dataset
from feedline.cli.machine import busy_warning, used_by_others
from tests.cli.commands import run


@pytest.mark.parametrize(
    ("load", "cores", "threads", "warns"),
    [
        (0.0, 2, 2, False),
        (0.3, 2, 2, False),  # what this process's own start leaves
        (1.0, 2, 2, True),
        (1.0, 2, 1, False),
        (2.0, 2, 1, True),
        (8.0, 64, 64, False),
        (40.0, 64, 64, True),
    ],
)
def test_a_run_warns_when_its_threads_do_not_find_a_core_each(
    load: float, cores: int, threads: int, warns: bool
) -> None:
    warning = busy_warning(load, cores, threads)
    assert (warning is not None) == warns
    if warning is not None:
        assert f"other programs use {load:.1f} of" in warning
        assert ("--torch-threads" in warning) == (threads > 1)  # fewer than one there are not
        assert len(warning.splitlines()) == 1


def test_torch_threads_is_the_number_of_threads_that_torch_uses(dataset: Dataset) -> None:
    before = torch.get_num_threads()
    try:
        assert run("train", dataset, "--epochs", "1", "--torch-threads", "3", "--out", "runs/a") == 0
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_it_sees_what_other_programs_use() -> None:
    """A process that computes without a pause; the machine may be busy with others."""
    with subprocess.Popen([sys.executable, "-c", "print('started', flush=True)\nwhile True: pass"], stdout=-1) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            assert used_by_others(1.0) > 0.2
        finally:
            other.kill()
