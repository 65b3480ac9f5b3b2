import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from feedline.pipeline import Dataset, Loader
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.torch_engine import TorchEngine
from feedline.pipeline.workers import Task, Workers

BOUND = 300.0  # seconds for what only must not last for ever


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2, others=1)
    yield made
    made.close()


@pytest.fixture
def gate(workers: Workers) -> Iterator[threading.Event]:
    """What tasks of a test wait for; open at its end however that comes, so that the workers can be closed."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that workers read; it stands still."""
    now = [0.0]
    monkeypatch.setattr("pipeline.workers.time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep))
    return now


def hold(workers: Workers, gate: threading.Event) -> list[Task[bool]]:
    """Gives both threads something to do until the gate opens, and returns when both have begun."""
    begun = threading.Barrier(3)

    def wait() -> bool:
        begun.wait(BOUND)
        return gate.wait(BOUND)

    held = [workers.submit(wait) for _ in range(2)]
    begun.wait(BOUND)
    return held


def name() -> str:
    return threading.current_thread().name


def test_results_and_errors_come_back(workers: Workers) -> None:
    good, bad, other = workers.submit(divmod, 7, 2), workers.submit(divmod, 1, 0), workers.submit(divmod, 9, 4)
    assert good.result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        bad.result()
    assert other.result() == (2, 1)


def test_dropped_tasks_are_not_begun(workers: Workers, gate: threading.Event) -> None:
    hold(workers, gate)
    begun = list[int]()
    task = workers.submit(begun.append, 1)
    task.drop()
    gate.set()
    assert task.result() is None
    assert not begun


def test_who_waits_may_help(workers: Workers, gate: threading.Event) -> None:
    held = hold(workers, gate)
    task = workers.submit(name)
    assert not task.done
    assert workers.help()
    assert task.result() == name()
    assert not workers.help(), "nothing is waiting"
    gate.set()
    assert all(one.result() for one in held)


def test_a_thread_steps_aside_for_who_helps(workers: Workers, gate: threading.Event, clock: list[float]) -> None:
    """And takes its place again when there was no help for a while."""
    held = hold(workers, gate)
    workers.submit(int)
    assert workers.help()
    gate.set()
    assert all(one.result() for one in held)
    assert {task.result() for task in [workers.submit(name) for _ in range(20)]} == {"feedline-torch-1"}
    clock[0] += Workers.ASIDE
    assert all(one.result() for one in hold(workers, gate)), "both threads work"


def test_an_interruption_while_helping_is_not_kept_for_later(workers: Workers, gate: threading.Event) -> None:
    hold(workers, gate)

    def interrupted() -> None:
        raise KeyboardInterrupt

    workers.submit(interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.help()
    gate.set()
    assert workers.submit(int).result() == 0


def test_no_thread_is_left_after_closing() -> None:
    before = set(threading.enumerate())
    workers = Workers(3, others=1)
    assert len(set(threading.enumerate()) - before) == 3
    workers.close()
    assert not set(threading.enumerate()) - before


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Who made how many batches; all threads are busy until the test's own thread has made one."""
    make, help_, looping, counts, helped = TorchEngine._make, Workers.help, name(), Counter[str](), threading.Event()

    def counted(self: TorchEngine, batches: list[PlanBatch]) -> Any:
        assert name() == looping or helped.wait(BOUND), "the loop makes no batch"
        counts[name()] += 1
        return make(self, batches)

    def helping(self: Workers) -> bool:
        if something := help_(self):
            helped.set()
        return something

    monkeypatch.setattr(Workers, "help", helping)
    monkeypatch.setattr(TorchEngine, "_make", counted)
    monkeypatch.setattr(TorchEngine, "TASK_BYTES", 1)
    return counts


def quick(dataset: Dataset, threads: int) -> Loader:
    """A loader whose batches are copied rather than made."""
    return Loader(dataset, store="raw", engine="torch", batch_size=2, split="official", threads=threads)


def loop(loader: Loader) -> None:
    for epoch in range(2):
        seen = [labels.tolist() for _, labels in loader]
        assert seen == [loader.dataset.labels[loader.plan.batch(epoch, k).ids].tolist() for k in range(len(loader))]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_who_loops_over_batches_that_are_quickly_made_makes_some(
    dataset: Dataset, made: Counter[str], threads: int
) -> None:
    loader = quick(dataset, threads)
    loop(loader)
    loader.close()
    assert made[name()] > 0
    assert made.total() == 2 * len(loader)


@pytest.mark.parametrize("threads", [2, 3])
def test_who_loops_works_in_the_place_of_a_thread(
    dataset: Dataset, made: Counter[str], clock: list[float], threads: int
) -> None:
    """As the clock stands still, a thread that has stepped aside stays there."""
    loader = quick(dataset, threads)
    loop(loader)
    clock[0] += Workers.ASIDE
    loader.close()
    assert made["feedline-torch-0"] <= 1, "the one that it had begun"
