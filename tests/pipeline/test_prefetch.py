import threading
from collections.abc import Generator

import pytest

from feedline.pipeline.prefetch import Direct, Prefetcher

BOUND = 300.0  # seconds, for waits that must end


@pytest.mark.parametrize("depth", [1, 3])
def test_items_come_in_order_and_no_more_than_the_depth_ahead(depth: int) -> None:
    asked, produced, too_early = 0, threading.Semaphore(0), list[int]()

    def items() -> Generator[int, None, None]:
        for number in range(20):
            if number > asked + depth:  # the queue is full until an item is taken
                too_early.append(number)
            produced.release()
            yield number

    prefetcher = Prefetcher(items(), depth)
    for _ in range(depth + 1):
        assert produced.acquire(timeout=BOUND), "items are made ahead"
    taken = []
    for _ in range(20):
        asked += 1
        taken.append(prefetcher.take())
    prefetcher.close()
    assert taken == list(range(20))
    assert not too_early


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Generator[int, None, None]:
        yield 1
        raise OSError("the disk is gone")

    prefetcher = Prefetcher(items(), 3)
    assert prefetcher.take() == 1
    with pytest.raises(OSError, match="the disk is gone"):
        prefetcher.take()
    prefetcher.close()


def test_closing_ends_the_generator_and_the_thread() -> None:
    ended, before = list[str](), set(threading.enumerate())

    def items() -> Generator[int, None, None]:
        try:
            while True:
                yield 0
        finally:
            ended.append(threading.current_thread().name)

    prefetcher = Prefetcher(items(), 2)
    prefetcher.take()
    prefetcher.close()
    assert ended == ["feedline-loader"], "where it ran"
    assert not set(threading.enumerate()) - before
    prefetcher.close()
    with pytest.raises(RuntimeError, match="loop over the loader was ended"):
        prefetcher.take()


def test_two_threads_may_close() -> None:
    """Each puts the mark of the end, for which a queue of one item has no room twice."""
    prefetcher = Prefetcher((number for number in range(0)), 1)
    prefetcher._drain = lambda: None  # type: ignore[method-assign]  # as if both had drained it before
    closers = [threading.Thread(target=prefetcher.close, daemon=True) for _ in range(2)]
    for closer in closers:
        closer.start()
    for closer in closers:
        closer.join(timeout=BOUND)
    assert not any(closer.is_alive() for closer in closers)


def test_direct_runs_a_generator_in_the_consumers_thread() -> None:
    ended = list[str]()

    def items() -> Generator[str, None, None]:
        try:
            while True:
                yield threading.current_thread().name
        finally:
            ended.append("here")

    direct = Direct(items())
    assert not ended
    assert direct.take() == threading.current_thread().name
    direct.close()
    assert ended
    with pytest.raises(RuntimeError, match="loop over the loader was ended"):
        direct.take()


def test_direct_raises_what_the_generator_raises() -> None:
    def items() -> Generator[int, None, None]:
        raise OSError("the disk is gone")
        yield 0

    with pytest.raises(OSError, match="the disk is gone"):
        Direct(items()).take()
