"""Many epochs with every store and engine: every image correct, no growth in memory, threads or file descriptors."""

import gc
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.memory import resident_mib
from feedline import Dataset, EngineName, Loader, StoreName
from feedline.pipeline.engines.types import ENGINES
from feedline.pipeline.stores import stores_on

ROW = 20  # row of pixels that identifies an image
CLOSE = 6.0  # of 255: largest mean difference between JPEG decoders in that row


def _counts() -> tuple[int, int]:
    """Number of threads and open file descriptors of this process."""
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def soak(dataset: Dataset, store: StoreName, engine: EngineName, epochs: int, batch_size: int) -> dict[str, Any]:
    """Runs epochs of the train part, unaugmented, and compares every image of every batch with the raw pack.

    Returns:
        Number of images, memory growth in MiB per epoch, and threads and descriptors before and after.

    Raises:
        AssertionError: if an epoch has an image twice, or an image that is not the one in the plan.
    """
    loader = Loader(
        dataset, split="70-30", store=store, engine=engine, batch_size=batch_size, augment=(), dtype=torch.uint8
    )
    pack, ids = dataset.pack("raw"), dataset.ids("70-30", "train")
    assert pack.size is not None
    exact = store in ("raw", "resident") or engine == "torch"
    expected = np.empty((batch_size, *pack.size, 3), dtype=np.uint8)
    memory: list[float] = []
    before = after = (0, 0)
    started = time.monotonic()
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        seen = np.zeros(dataset.count, dtype=bool)
        for k, (images, labels) in enumerate(loader):
            # The ids are from the plan; the pixels of the batch must match them.
            batch = loader.plan.global_ids(epoch, k)
            assert not seen[batch].any(), "an image appeared twice"
            seen[batch] = True
            assert np.array_equal(labels.numpy(), dataset.labels[batch])
            pack.gather(batch, expected[: len(batch)])
            rows = images.permute(0, 2, 3, 1)[:, ROW].numpy().astype(np.int16)
            distance = np.abs(rows - expected[: len(batch), ROW]).mean(axis=(1, 2))
            assert distance.max() <= (0 if exact else CLOSE), "not the image in the plan"
        assert seen.sum() == len(loader) * batch_size <= len(ids)
        gc.collect()
        memory.append(resident_mib())
        before, after = (_counts() if epoch == 1 else before), _counts()
    settled = np.array(memory[len(memory) // 4 :])
    slope = float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) if len(settled) > 1 else 0.0
    return {
        "store": store,
        "engine": engine,
        "epochs": epochs,
        "images": epochs * len(loader) * batch_size,
        "memory_slope_mib_per_epoch": round(slope, 4),
        "memory_mib": [round(memory[1], 1), round(memory[-1], 1)],
        "threads": [before[0], after[0]],
        "descriptors": [before[1], after[1]],
        "seconds": round(time.monotonic() - started, 1),
    }


def run(data: Path, *, epochs: int, batch_size: int) -> dict[str, Any]:
    """Tests every store with every engine."""
    results = []
    for store in stores_on(torch.device("cpu")):
        for engine in ENGINES:
            results.append(soak(Dataset(data), store, engine, epochs, batch_size))
            print(results[-1], flush=True)
    return {"dataset": Dataset(data).name, "results": results}
