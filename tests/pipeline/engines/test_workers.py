import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from feedline import Dataset, Loader
from feedline.pipeline.engines.torch_cpu import TorchCpuEngine
from feedline.pipeline.engines.workers import Task, WorkerPool, Workers, in_order

Result = TypeVar("Result")

BOUND = 300.0  # seconds, for waits that must end


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(2, torch_threads=1)
    yield workers
    workers.close()


@pytest.fixture
def gate(workers: Workers) -> Iterator[threading.Event]:
    """An event that tasks wait for. It is set at the end of the test in any case, so that workers can be closed."""
    gate = threading.Event()
    yield gate
    gate.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock for workers; its time does not advance."""
    now = [0.0]
    monkeypatch.setattr(
        "feedline.pipeline.engines.workers.time", SimpleNamespace(monotonic=lambda: now[0], sleep=time.sleep)
    )
    return now


def hold(workers: Workers, gate: threading.Event) -> list[Task[bool]]:
    """Keeps both threads busy until the gate opens. Returns when both have started."""
    both_started = threading.Barrier(3)

    def wait() -> bool:
        both_started.wait(BOUND)
        return gate.wait(BOUND)

    tasks = [workers.submit(wait) for _ in range(2)]
    both_started.wait(BOUND)
    return tasks


def thread_name() -> str:
    return threading.current_thread().name


def test_results_and_errors_come_back(workers: Workers) -> None:
    good, bad, other = workers.submit(divmod, 7, 2), workers.submit(divmod, 1, 0), workers.submit(divmod, 9, 4)
    assert good.result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        bad.result()
    assert other.result() == (2, 1)


def test_cancelled_tasks_do_not_start(workers: Workers, gate: threading.Event) -> None:
    hold(workers, gate)
    started = list[int]()
    task = workers.submit(started.append, 1)
    task.cancel()
    gate.set()
    assert task.result() is None
    assert not started


def test_the_consumer_may_help(workers: Workers, gate: threading.Event) -> None:
    tasks = hold(workers, gate)
    task = workers.submit(thread_name)
    assert not task.done
    assert workers.help()
    assert task.result() == thread_name()
    assert not workers.help(), "the queue is empty"
    gate.set()
    assert all(task.result() for task in tasks)


def test_a_thread_steps_aside_for_a_consumer_that_helps(
    workers: Workers, gate: threading.Event, clock: list[float]
) -> None:
    """It works again when there was no help for a while."""
    tasks = hold(workers, gate)
    workers.submit(int)
    assert workers.help()
    gate.set()
    assert all(task.result() for task in tasks)
    assert {task.result() for task in [workers.submit(thread_name) for _ in range(20)]} == {"feedline-torch-1"}
    clock[0] += Workers.STEP_ASIDE
    assert all(task.result() for task in hold(workers, gate)), "both threads work"


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
    workers = Workers(3, torch_threads=1)
    assert len(set(threading.enumerate()) - before) == 3
    workers.close()
    assert not set(threading.enumerate()) - before


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Number of tasks by thread. All workers are busy until the test's thread has run one."""
    submit, help_, looping, counts, helped = (
        Workers.submit,
        Workers.help,
        thread_name(),
        Counter[str](),
        threading.Event(),
    )

    def submit_counted(self: Workers, function: Callable[..., Result], *args: Any) -> Task[Result]:
        def counted(*args: Any) -> Result:
            assert thread_name() == looping or helped.wait(BOUND), "the loop runs no task"
            counts[thread_name()] += 1
            return function(*args)

        return submit(self, counted, *args)

    def help_noted(self: Workers) -> bool:
        if ran := help_(self):
            helped.set()
        return ran

    monkeypatch.setattr(Workers, "submit", submit_counted)
    monkeypatch.setattr(Workers, "help", help_noted)
    monkeypatch.setattr(TorchCpuEngine, "TASK_BYTES", 1)
    return counts


def quick(dataset: Dataset, threads: int) -> Loader:
    """A loader whose batches are only copied."""
    return Loader(dataset, store="raw", engine="torch", batch_size=2, split="official", threads=threads)


def loop(loader: Loader) -> None:
    for epoch in range(2):
        seen = [labels.tolist() for _, labels in loader]
        assert seen == [loader.folder.labels[loader.plan.batch(epoch, k).ids].tolist() for k in range(len(loader))]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_loop_over_batches_that_are_only_copied_makes_some_itself(
    dataset: Dataset, counts: Counter[str], threads: int
) -> None:
    loader = quick(dataset, threads)
    loop(loader)
    loader.close()
    assert counts[thread_name()] > 0
    assert counts.total() == 2 * len(loader)


@pytest.mark.parametrize("threads", [2, 3])
def test_a_loop_works_in_the_place_of_a_thread(
    dataset: Dataset, counts: Counter[str], clock: list[float], threads: int
) -> None:
    """The clock does not advance, so a thread that has stepped aside does not come back."""
    loader = quick(dataset, threads)
    loop(loader)
    clock[0] += Workers.STEP_ASIDE
    loader.close()
    assert counts["feedline-torch-0"] <= 1, "the task that it had started"


def test_results_are_in_the_order_of_items(workers: Workers) -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    for help in (False, True):
        taken.clear()
        for number, (item, result) in enumerate(in_order(workers, items(), lambda n: n * n, ahead=3, help=help)):
            assert (item, result) == (number, number**2)
            assert len(taken) <= number + 3, "at most this many are under way"
        assert number == 19
    assert list(in_order(workers, iter([1, 2]), str, ahead=30)) == [(1, "1"), (2, "2")], "fewer than that"


def test_closing_the_generator_cancels_queued_tasks(workers: Workers, gate: threading.Event) -> None:
    hold(workers, gate)
    started = list[int]()
    results = in_order(workers, iter(range(20)), started.append, ahead=10, help=True)
    assert next(results) == (0, None), "run here, because both threads are busy"
    results.close()
    gate.set()
    assert all(task.result() for task in hold(workers, gate)), "both threads have finished all tasks"
    assert started == [0]


def test_an_error_is_raised_in_place_of_its_result(workers: Workers) -> None:
    results = in_order(workers, iter([1, 0, 2]), lambda n: 6 // n, ahead=3)
    assert next(results) == (1, 6)
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert workers.submit(int).result() == 0


def test_the_threads_of_an_engine_end_with_it() -> None:
    class Owner:
        pass

    before = set(threading.enumerate())
    owner = Owner()
    pool = WorkerPool(owner, 2)
    assert not set(threading.enumerate()) - before, "they start when they are first used"
    assert pool.start() is pool.start()
    pool.close()
    pool.close()
    assert pool.start().submit(int).result() == 0, "a closed pool can be started again"
    del owner
    gc.collect()
    assert not set(threading.enumerate()) - before
