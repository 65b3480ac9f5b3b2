"""Worker processes."""

import errno
import multiprocessing.synchronize
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from feedline.convert import build, images, pool
from feedline.convert.pool import run_in_order
from feedline.pipeline.errors import InputError, WorkerKilledError


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


def shared_and(number: int) -> tuple[object, int]:
    return pool.shared(), number


@pytest.mark.parametrize("workers", [1, 2])
def test_what_all_jobs_share_reaches_them(workers: int) -> None:
    assert list(run_in_order(shared_and, range(3), workers, "all")) == [("all", 0), ("all", 1), ("all", 2)]


def test_without_shared_memory_this_process_does_the_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As where /dev/shm is full or missing."""

    def no_lock(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", no_lock)
    assert list(run_in_order(shared_and, range(3), 2, "all")) == [("all", 0), ("all", 1), ("all", 2)]
    assert "locks do not fit in shared memory, /dev/shm (No space left on device)" in caplog.text


def test_processes_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_process() -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", no_process)
    monkeypatch.setattr(multiprocessing.get_context("spawn").Process, "start", lambda _: no_process())
    with pytest.raises(InputError, match="the system starts no more processes"):
        list(run_in_order(square, range(3), 2))


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


def test_a_signal_while_jobs_run_is_raised_between_their_results() -> None:
    """Not where it comes: there it may leave a lock taken, or be lost."""
    results: list[int] = []
    raised_in_jobs: list[int] = []

    def jobs() -> Iterator[int]:
        for number in range(50):
            if number == 2:
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    raised_in_jobs.append(number)
            yield number

    with pytest.raises(KeyboardInterrupt):
        results += run_in_order(square, jobs(), 2)
    assert not raised_in_jobs
    assert not multiprocessing.active_children()
