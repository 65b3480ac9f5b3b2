"""Floors: work that no loader can avoid. All data is in memory, and the threads share the batches."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.peers.job import Batches, Contestant, Job, Make


def _floor(prepare: Callable[[Job], Callable[[np.ndarray], None]]) -> Make:
    def make(job: Job) -> Batches:
        from concurrent.futures import Future, ThreadPoolExecutor

        from feedline import Dataset

        torch.set_num_threads(1)
        count, rng = Dataset(job.data).count, np.random.default_rng(0)
        work = prepare(job)
        torch.set_num_threads(1)

        def run_all(batch_ids: np.ndarray) -> None:
            for ids in batch_ids:
                work(ids)

        def batches() -> Batches:
            with ThreadPoolExecutor(job.threads, initializer=lambda: torch.set_num_threads(1)) as pool:
                waiting: deque[Future[None]] = deque()
                while True:
                    order = rng.permutation(count)[: count // job.batch_size * job.batch_size]
                    # Several batches per task, two tasks per thread: little time is lost between threads, and little
                    # is prefetched while others are measured.
                    for batch_ids in np.array_split(
                        order.reshape(-1, job.batch_size), count // job.batch_size // 8 + 1
                    ):
                        waiting.append(pool.submit(run_all, batch_ids))
                        if len(waiting) >= 2 * job.threads:
                            waiting.popleft().result()
                            for _ in batch_ids:
                                yield None, np.empty(job.batch_size)

        return batches()

    return make


def _decode_floor(job: Job) -> Callable[[np.ndarray], None]:
    import simplejpeg

    from feedline import Dataset

    pack = Dataset(job.data).pack("jpeg")

    def work(ids: np.ndarray) -> None:
        out = np.empty((job.size, job.size, 3), dtype=np.uint8)
        for data in pack.encoded(ids):
            simplejpeg.decode_jpeg(data, "RGB", buffer=out)

    return work


def _gather_floor(job: Job) -> Callable[[np.ndarray], None]:
    from feedline import Dataset

    data = Dataset(job.data)
    pack, nbytes = data.pack("raw"), job.size * job.size * 3
    images = np.empty((data.count, nbytes), dtype=np.uint8)
    for first in range(0, data.count, 4096):
        ids = np.arange(first, min(first + 4096, data.count))
        pack.gather(ids, images[first : first + 4096].reshape(-1, job.size, job.size, 3))

    def work(ids: np.ndarray) -> None:
        images.take(ids, axis=0)

    return work


def _copy_floor(job: Job) -> Callable[[np.ndarray], None]:
    source = torch.zeros(job.batch_size, job.size * job.size * 3, dtype=torch.uint8)
    targets = [torch.zeros(source.shape) for _ in range(job.threads + 1)]
    free = list(targets)

    def work(ids: np.ndarray) -> None:
        target = free.pop()
        target.copy_(source)
        free.append(target)

    return work


_SETUP: dict[str, Any] = {"reads": "memory", "runs_in": "{threads} threads", "floor": True}

CONTESTANTS = (
    Contestant("floor: decode", _floor(_decode_floor), ("train", "pixels"), decoder="simplejpeg", **_SETUP),
    Contestant("floor: gather", _floor(_gather_floor), ("train", "pixels"), decoder="none", **_SETUP),
    Contestant("floor: read uint8 write float32", _floor(_copy_floor), ("train",), decoder="none", **_SETUP),
)
