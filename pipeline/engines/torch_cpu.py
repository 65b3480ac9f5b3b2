"""The torch engine on a CPU: the faster one there."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.buffers import BufferPool
from feedline.pipeline.cropper import Cropper
from feedline.pipeline.engines.edits import edited
from feedline.pipeline.engines.resize import crop_and_resize, resize
from feedline.pipeline.engines.types import EngineBatches, EngineSpec
from feedline.pipeline.engines.workers import WorkerPool, in_order
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.resizer import make_resizer
from feedline.pipeline.stores import HostStore


class TorchCpuEngine:
    """Bytes or pixels and a plan to normalised batches, with the compiled kernel or numpy and torch.

    Batches are made side by side in `threads` threads and yielded in order.
    """

    threaded = True

    TASK_BYTES = 2 << 20  # of a task's batches: less costs more to hand on than to make, more falls out of the cache

    def __init__(self, store: HostStore, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        normalise = () if spec.dtype == torch.uint8 else (spec.mean, spec.std)
        self._output_cropper = Cropper(spec.output, *normalise)
        self._window_cropper = Cropper(spec.window) if spec.window else None
        # Windows that reach outside are cut with zeros around the image first.
        kernel = spec.resize and spec.inside
        self._resizer = make_resizer(spec.output) if kernel else None
        self._output_resizer = make_resizer(spec.output, *normalise) if kernel else None
        # Batches that are copied rather than decoded: handing them from thread to thread takes a part of the time.
        self._quick = not store.encoded and not spec.resize and not spec.edits
        rows = spec.batch_size * spec.views
        nbytes = rows * spec.output[0] * spec.output[1] * 3 * spec.dtype.itemsize
        self._batches_per_task = max(self.TASK_BYTES // nbytes, 1) if self._quick else 1
        self._tasks_ahead = spec.threads + -(-spec.prefetch // self._batches_per_task)
        self.ahead = self._tasks_ahead * self._batches_per_task
        shape = (self._batches_per_task * rows, *spec.output, 3)
        self._buffers = BufferPool(shape, spec.dtype, 2 * self._tasks_ahead)
        self._workers = WorkerPool(self, spec.threads, spec.device)

    def run(self, batches: Iterable[PlanBatch]) -> EngineBatches:
        coming = iter(batches)
        groups = iter(lambda: list(islice(coming, self._batches_per_task)), [])
        tasks = in_order(self._workers.start(), groups, self._make, ahead=self._tasks_ahead, help=self._quick)
        for group, pixels in tasks:
            yield from zip(group, _split(group, pixels.permute(0, 3, 1, 2)), strict=True)
            del pixels  # its memory can be reused while the next task is waited for

    def close(self) -> None:
        self._workers.close()

    def _make(self, group: list[PlanBatch]) -> torch.Tensor:
        """Runs in a worker: the batches of a task, one behind the other, [B, height, width, 3]."""
        out = self._buffers.take(sum(batch.rows for batch in group))
        # float16, which the kernel does not write, is converted at the end.
        pixels = np.empty(out.shape, dtype=np.float32) if out.dtype == np.float16 else out
        first = 0
        for batch in group:
            self._make_batch(batch, pixels[first : first + batch.rows] if len(group) > 1 else pixels)
            first += batch.rows
        result = torch.from_numpy(out)
        return result if pixels is out else result.copy_(torch.from_numpy(pixels))

    def _make_batch(self, batch: PlanBatch, out: NDArray[Any]) -> None:
        if self._output_resizer is not None and not self.spec.edits:
            self.store.resize(batch, self._output_resizer, out)
        elif self.spec.edits or self.spec.resize:
            self._make_blocks(batch, out)
        elif self.spec.whole_images and self.spec.dtype == torch.uint8 and self.spec.views == 1:
            self.store.gather(batch.ids, out)
        else:
            self.store.cut(batch, self._output_cropper, out)

    def _make_blocks(self, batch: PlanBatch, out: NDArray[Any]) -> None:
        """Windows that are resized or edited, a block of images after another."""
        views = out.reshape(batch.views, len(batch), *out.shape[1:])
        for first in range(0, len(batch), self.store.BLOCK):
            part = slice(first, first + self.store.BLOCK)
            block = batch[part]
            ids = np.arange(len(block))
            pixels = edited(self._windows(block), block.edits, self.spec.mean)
            for view, rows in zip(pixels.split(len(block)), views, strict=True):
                self._output_cropper.whole(np.ascontiguousarray(view.numpy()), ids, rows[part])

    def _windows(self, batch: PlanBatch) -> torch.Tensor:
        """Windows, resized and mirrored: uint8 [V * B, height, width, 3]."""
        if self._resizer is not None or self._window_cropper is None:
            out = torch.empty((batch.rows, *self.spec.output, 3), dtype=torch.uint8, device="cpu")
        if self._resizer is not None:
            self.store.resize(batch, self._resizer, out.numpy())
            return out
        if self._window_cropper is None:
            crop_each_into(self.store, batch, out)
            return out
        assert self.spec.window is not None
        windows = np.empty((batch.rows, *self.spec.window, 3), dtype=np.uint8)
        self.store.cut(batch, self._window_cropper, windows)
        return resize(torch.from_numpy(windows), self.spec.output)


def crop_each_into(store: HostStore, batch: PlanBatch, out: torch.Tensor) -> None:
    """Windows of all sizes, image by image, resized and mirrored, into `out`: uint8 [V * B, height, width, 3]."""
    windows, flips, images = batch.window.tolist(), batch.flip.tolist(), len(batch)
    for number, image in enumerate(store.pixels(batch.ids)):
        for row in range(number, batch.rows, images):
            slot = out[row]
            pixels = crop_and_resize(image, windows[row], (slot.shape[0], slot.shape[1]))
            slot.copy_(pixels.flip(1) if flips[row] else pixels)


def _split(group: list[PlanBatch], pixels: torch.Tensor) -> Iterator[torch.Tensor]:
    """The batches of a task."""
    return iter((pixels,) if len(group) == 1 else pixels.split([batch.rows for batch in group]))
