"""The torch engine: the faster one on a CPU, and the one where DALI cannot be had."""

import threading
import weakref
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from feedline.pipeline.buffers import BufferPool
from feedline.pipeline.crops import Cropper, crop
from feedline.pipeline.engine import EngineSpec
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import Store
from feedline.pipeline.workers import Task, Workers


class TorchEngine:
    """Bytes and a plan to normalised batches, with numpy and torch.

    Whole batches are made side by side in `threads` threads and handed out in order. On a GPU they are cropped (if the
    images share one size) and normalised there.
    """

    threaded = True

    BLOCK = 64  # images decoded before they are cropped: fewer cost more calls, more fall out of a core's cache
    TASK_BYTES = 2 << 20  # of a task's batches: less costs more to hand on than to make, more falls out of the cache

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        self._gpu = spec.device.type == "cuda"
        # Windows of the output's size, normalised unless they stay uint8; windows of another size; whole images.
        self._normalised = Cropper(spec.output, *(() if spec.dtype == torch.uint8 else (spec.mean, spec.std)))
        self._cut = Cropper(spec.window) if spec.window else None
        self._wholly = Cropper(store.size) if store.size else None
        # (x / 255 - mean) / std on a GPU, as a product and a sum with rows of all pixels: broadcasting over three
        # channels is slow.
        pixels, std = spec.output[0] * spec.output[1], torch.tensor(spec.std) * 255
        self._scale = (1 / std).repeat(pixels).to(spec.device)
        self._shift = (-torch.tensor(spec.mean) * 255 / std).repeat(pixels).to(spec.device)
        # Batches that are copied rather than made: handing them from thread to thread takes a part of the time.
        self._quick = not self._gpu and not store.encoded and spec.window == spec.output
        nbytes = spec.batch_size * pixels * 3 * spec.dtype.itemsize
        self._together = max(self.TASK_BYTES // nbytes, 1) if self._quick else 1
        self._ahead = spec.threads + -(-spec.prefetch // self._together)
        shape = (self._together * spec.batch_size, *spec.output, 3)
        self._pool = BufferPool(shape, spec.dtype, 2 * self._ahead)
        self._threads = torch.get_num_threads()  # also: settles the number of the thread that builds us
        self._ending: weakref.finalize[..., TorchEngine] | None = None
        self._own = threading.local()

    def run(self, batches: Iterable[PlanBatch]) -> Generator[torch.Tensor, None, None]:
        """Yields a batch for each plan batch: [B, 3, height, width] in channels-last memory, on the device."""
        waiting: deque[tuple[list[PlanBatch], Task[torch.Tensor]]] = deque()
        workers, coming = self._workers(), iter(batches)
        try:
            while some := list(islice(coming, self._together)):
                waiting.append((some, workers.submit(self._make, some)))
                if len(waiting) >= self._ahead:
                    while self._quick and not waiting[0][1].done and workers.help():
                        pass
                    yield from self._finish(*waiting.popleft())
            while waiting:
                yield from self._finish(*waiting.popleft())
        finally:
            for _, task in waiting:
                task.drop()

    def close(self) -> None:
        """Ends the threads."""
        if self._ending is not None:
            self._ending()
            self._ending = None

    def _workers(self) -> Workers:
        """The threads; they stay for the next epoch."""
        if self._ending is None:
            self._working = Workers(self.spec.threads, others=self._threads)
            self._ending = weakref.finalize(self, self._working.close)
        return self._working

    def _make(self, batches: list[PlanBatch]) -> torch.Tensor:
        """Runs in a worker. On the CPU [B, height, width, 3] finished; for a GPU uint8, what it is to finish."""
        if self._gpu:
            return self._each(batches[0]) if self._cut is None else self._whole(batches[0])
        out = self._pool.take(sum(map(len, batches)))
        pixels, first = out, 0
        if out.dtype == np.float16:  # which the kernel does not make
            pixels = np.empty(out.shape, dtype=np.float32)
        for batch in batches:
            some = pixels if len(batches) == 1 else pixels[first : first + len(batch)]
            if self._cut is None:
                self._normalise_into(self._each(batch).numpy(), some)
            else:
                self._windows_into(batch, some)
            first += len(batch)
        made = torch.from_numpy(out)
        return made if pixels is out else made.copy_(torch.from_numpy(pixels))

    def _windows_into(self, batch: PlanBatch, out: NDArray[Any]) -> None:
        """Windows of one size out of images of one size."""
        held = self.store.held(batch.ids)
        if held is not None and not self.spec.resize:
            self._normalised(held, batch.ids, batch.window, batch.flip, out)
            return
        if self.spec.whole and self.spec.dtype == torch.uint8:
            self.store.gather(batch.ids, out)
            return
        for first in range(0, len(batch), self.BLOCK):
            some = slice(first, first + self.BLOCK)
            ids, window, flip = batch.ids[some], batch.window[some], batch.flip[some]
            if held is None:
                images, ids = self._decoded(ids), np.arange(len(ids))
            else:
                images = held
            if not self.spec.resize:
                self._normalised(images, ids, window, flip, out[some])
                continue
            assert self._cut is not None
            assert self.spec.window is not None
            pixels = np.empty((len(ids), *self.spec.window, 3), dtype=np.uint8)
            self._cut(images, ids, window, flip, pixels)
            self._normalise_into(self._resize(torch.from_numpy(pixels)).numpy(), out[some])

    def _normalise_into(self, pixels: NDArray[np.uint8], out: NDArray[Any]) -> None:
        """uint8 [B, height, width, 3] of the output's size; to uint8 it is copied."""
        window = np.array([[0, 0, *self.spec.output]], dtype=np.int32)
        flip = np.zeros(len(pixels), dtype=bool)
        self._normalised(np.ascontiguousarray(pixels), np.arange(len(pixels)), window, flip, out)

    def _decoded(self, ids: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A block of images, uint8 [B, height, width, 3], in memory of this thread's own: good until the next block."""
        if not hasattr(self._own, "block"):
            assert self.store.size is not None
            self._own.block = np.empty((self.BLOCK, *self.store.size, 3), dtype=np.uint8)
        block: NDArray[np.uint8] = self._own.block[: len(ids)]
        self.store.gather(ids, block)
        return block

    def _each(self, batch: PlanBatch) -> torch.Tensor:
        """Images or windows of all sizes, one by one: uint8 [B, height, width, 3]."""
        out = torch.empty((len(batch), *self.spec.output, 3), dtype=torch.uint8, pin_memory=self._gpu)
        images = zip(self.store.pixels(batch.ids), batch.window.tolist(), batch.flip.tolist(), out, strict=True)
        for image, window, flip, slot in images:
            pixels = self._resize(torch.from_numpy(crop(image, window))[None])[0]
            slot.copy_(pixels.flip(1) if flip else pixels)
        return out

    def _resize(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, h, w, 3] to [B, height, width, 3], bilinear with antialiasing."""
        if pixels.shape[1:3] == self.spec.output:
            return pixels
        planes = pixels.permute(0, 3, 1, 2)
        if pixels.is_cuda:  # resizes floats only
            planes = planes.float()
        planes = interpolate(planes, self.spec.output, mode="bilinear", antialias=True)
        if pixels.is_cuda:
            planes = planes.round_().clamp_(0, 255).to(torch.uint8)
        return planes.permute(0, 2, 3, 1)

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        flat = torch.addcmul(self._shift, pixels.flatten(1).to(torch.float32), self._scale)
        return flat.to(self.spec.dtype).view(pixels.shape)

    def _finish(self, batches: list[PlanBatch], made: Task[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The batches [B, 3, height, width] on the device."""
        pixels = made.result()
        if self._gpu:
            pixels = pixels.to(self.spec.device, non_blocking=True)
            if self._cut is not None:
                pixels = self._crop_on_device(pixels, batches[0])
            pixels = pixels if self.spec.dtype == torch.uint8 else self._normalise(pixels)
        pixels = pixels.permute(0, 3, 1, 2)
        return iter((pixels,) if len(batches) == 1 else pixels.split([len(batch) for batch in batches]))

    def _whole(self, batch: PlanBatch) -> torch.Tensor:
        """Images of one size, not cropped yet: in the GPU's memory, or in pinned memory on its way there."""
        assert self.store.size is not None
        images = self.store.read(batch.ids) if not self.store.encoded else []
        if isinstance(images, torch.Tensor):
            return images
        out = torch.empty((len(batch), *self.store.size, 3), dtype=torch.uint8, pin_memory=True)
        held = self.store.held(batch.ids)
        if held is None or self._wholly is None:
            self.store.gather(batch.ids, out.numpy())
        else:
            everything = np.array([[0, 0, *self.store.size]], dtype=np.int32)
            self._wholly(held, batch.ids, everything, np.zeros(len(batch), dtype=bool), out.numpy())
        return out

    def _crop_on_device(self, images: torch.Tensor, batch: PlanBatch) -> torch.Tensor:
        """Windows of one size by one gather on the device: uint8 [B, H, W, 3] in, [B, height, width, 3] out."""
        window = torch.from_numpy(batch.window).to(images.device, non_blocking=True).long()
        flip = torch.from_numpy(batch.flip).to(images.device, non_blocking=True)
        height, width = batch.window[0, 2:].tolist()
        rows = window[:, :1] + torch.arange(height, device=images.device)
        across = torch.arange(width, device=images.device)
        columns = window[:, 1:2] + torch.where(flip[:, None], across.flip(0), across)
        inside_rows = (rows >= 0) & (rows < images.shape[1])
        inside_columns = (columns >= 0) & (columns < images.shape[2])
        inside = inside_rows[:, :, None] & inside_columns[:, None, :]
        rows, columns = rows.clamp(0, images.shape[1] - 1), columns.clamp(0, images.shape[2] - 1)
        which = torch.arange(len(images), device=images.device)[:, None, None]
        return self._resize(images[which, rows[:, :, None], columns[:, None, :]] * inside[..., None])
