"""Worker processes."""

import os
from pathlib import Path

import pytest

from feedline.convert import build, images
from feedline.convert.pool import run_in_order
from feedline.pipeline.errors import WorkerKilledError


def square(number: int) -> int:
    return number**2


def fail_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def die(_: object) -> None:
    os._exit(9)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_are_in_the_order_of_jobs(workers: int) -> None:
    assert list(run_in_order(square, range(50), workers)) == [number**2 for number in range(50)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_job_comes_after_the_results_before_it(workers: int) -> None:
    results = run_in_order(fail_at_seven, range(50), workers)
    assert [next(results) for _ in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="seven"):
        next(results)


def test_a_worker_that_is_killed() -> None:
    with pytest.raises(WorkerKilledError) as caught:
        list(run_in_order(die, range(4), 2))
    assert caught.value.message.endswith("try fewer `workers`")


def test_the_command_reports_a_killed_worker(
    tiny_source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "convert_images", die)
    argv = ["--source", str(tiny_source), "--out", str(tmp_path / "out"), "--workers", "2"]
    assert build.main(argv) == 2
    error = capsys.readouterr().err
    assert "a worker process was killed from outside" in error
    assert "try fewer --workers" in error
    assert list(tmp_path.iterdir()) == []
