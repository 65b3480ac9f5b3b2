import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline import Dataset, Loader
from pipeline.plan import PlanBatch
from pipeline.torch_engine import TorchEngine
from pipeline.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(2, others=1)
    yield made
    made.close()


def test_results_and_errors_come_back(workers: Workers) -> None:
    good, bad, other = workers.submit(divmod, 7, 2), workers.submit(divmod, 1, 0), workers.submit(divmod, 9, 4)
    assert good.result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        bad.result()
    assert other.result() == (2, 1)


def test_dropped_tasks_are_not_begun(workers: Workers) -> None:
    gate, begun = threading.Event(), list[int]()
    for _ in range(2):
        workers.submit(gate.wait)
    task = workers.submit(begun.append, 1)
    task.drop()
    gate.set()
    assert task.result() is None
    assert not begun


def test_who_waits_may_help(workers: Workers) -> None:
    gate = threading.Event()
    held = [workers.submit(gate.wait) for _ in range(2)]
    while workers._tasks.qsize():
        time.sleep(0.001)
    task = workers.submit(threading.current_thread)
    assert not task.done
    assert workers.help()
    assert task.result() is threading.current_thread()
    assert not workers.help(), "nothing is waiting"
    gate.set()
    assert all(one.result() for one in held)


def test_an_interruption_while_helping_is_not_kept_for_later(workers: Workers) -> None:
    gate = threading.Event()
    for _ in range(2):
        workers.submit(gate.wait)
    while workers._tasks.qsize():
        time.sleep(0.001)

    def interrupted() -> None:
        raise KeyboardInterrupt

    workers.submit(interrupted)
    with pytest.raises(KeyboardInterrupt):
        workers.help()
    gate.set()
    assert workers.submit(int).result() == 0


def test_no_thread_is_left_after_closing() -> None:
    before = threading.active_count()
    workers = Workers(3, others=1)
    assert threading.active_count() == before + 3
    workers.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_more_work_at_a_time_than_there_are_threads(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Whoever loops over batches that are quickly made works himself, in the place of a thread."""
    make, lock, now, most, who = TorchEngine._make, threading.Lock(), [0], [0], set[str]()

    def counted(self: TorchEngine, batches: list[PlanBatch]) -> Any:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            who.add(threading.current_thread().name)
        time.sleep(0.0005)
        made = make(self, batches)
        with lock:
            now[0] -= 1
        return made

    monkeypatch.setattr(TorchEngine, "_make", counted)
    monkeypatch.setattr(TorchEngine, "TASK_BYTES", 1)
    loader = Loader(dataset, store="raw", engine="torch", batch_size=2, split="official", threads=threads)
    whole = [labels.tolist() for _ in range(2) for _, labels in loader]
    loader.close()
    assert whole == [dataset.labels[loader.plan.batch(e, k).ids].tolist() for e in range(2) for k in range(len(loader))]
    assert threading.current_thread().name in who
    assert most[0] <= threads + 1, "a thread that has not stepped aside yet ends its task"
