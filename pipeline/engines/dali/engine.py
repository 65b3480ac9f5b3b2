"""Feeds the graph and takes its batches."""

import ctypes
import os
from collections import deque
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.buffers import BufferPool
from feedline.pipeline.engines.dali.graph import graph, input_of
from feedline.pipeline.engines.types import EngineBatches, EngineSpec
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.plan.edits import EditPart
from feedline.pipeline.stores import EncodedStore, HostStore, Store

Images: TypeAlias = "list[NDArray[np.uint8]] | NDArray[np.uint8] | torch.Tensor"


class DaliEngine:
    """Bytes or pixels and a plan to normalised batches, with NVIDIA DALI."""

    threaded = False  # DALI's threads work only while run() feeds them

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        self._gpu = spec.device.type == "cuda"
        self.ahead = 2 * spec.prefetch + 1  # in the pipeline, in the loader's queue, and one between them
        self._buffers = self._pool()
        self._pipe: Any = None
        self._process = os.getpid()

    def run(self, batches: Iterable[PlanBatch]) -> EngineBatches:
        # The pipeline reads inputs on the host in place: they are kept here until their batch has come out.
        running: deque[tuple[PlanBatch, Images]] = deque()
        try:
            for batch in batches:
                images = self._read(batch)
                running.append((batch, images))
                if self._pipe is None:
                    self._start(batch[:1], images[:1])
                self._feed(batch, images)
                self._pipe.schedule_run()
                if len(running) == self.spec.prefetch:
                    yield self._take(running)
            while running:
                yield self._take(running)
        except (RuntimeError, MemoryError) as error:
            self._pipe = None  # after an error a pipeline is no longer valid, says DALI
            culprit = self._unreadable([batch for batch, _ in running])
            running.clear()
            raise culprit or error from error
        finally:
            self._empty(running)

    def close(self) -> None:
        """No-op: DALI's threads belong to its pipeline, which takes long to build and is kept for the next run."""

    def _start(self, one: PlanBatch, image: Images) -> None:
        """Builds the pipeline and primes its prefetch queue with dummy batches of one image."""
        self._pipe = graph(
            self.spec,
            encoded=self.store.encoded,
            on_device=isinstance(image, torch.Tensor),
            batch_size=self.spec.batch_size,
            num_threads=self.spec.threads,
            device_id=self.spec.device.index if self._gpu else None,
            prefetch_queue_depth=self.spec.prefetch,
        )
        self._pipe.build()
        for _ in range(self.spec.prefetch):
            self._feed(one, image)
        self._pipe.schedule_run()
        for _ in range(self.spec.prefetch):
            self._pipe.share_outputs()
            self._pipe.release_outputs()

    def _pool(self) -> BufferPool | None:
        """Memory for images of one size; None where the pipeline gets each image by itself."""
        if not isinstance(self.store, HostStore) or self.store.encoded or self.store.size is None or self._gpu:
            return None
        return BufferPool((self.spec.batch_size, *self.store.size, 3), torch.uint8, self.spec.prefetch + 2)

    def _read(self, batch: PlanBatch) -> Images:
        """The images of a batch, as one array where that can be: each array that is fed takes 5 us."""
        if isinstance(self.store, EncodedStore) and self.spec.decode == "cpu":
            return self.store.rows(batch.ids)
        if not isinstance(self.store, HostStore) or self.store.encoded or self.store.size is None:
            return self.store.read(batch.ids)
        if self._buffers is not None:
            images = self._buffers.take(len(batch))
            self.store.gather(batch.ids, images)
            return images
        pinned = torch.empty((len(batch), *self.store.size, 3), dtype=torch.uint8, device="cpu", pin_memory=True)
        self.store.gather(batch.ids, pinned.numpy())
        return pinned.to(self.spec.device, non_blocking=True)  # torch reuses pinned memory when the copy is done

    def _feed(self, batch: PlanBatch, images: Images) -> None:
        # Images on the GPU are written by work that torch has queued in the current stream. There DALI copies them.
        stream = torch.cuda.current_stream(self.spec.device) if isinstance(images, torch.Tensor) else None
        self._pipe.feed_input("images", images, cuda_stream=stream)
        for view, rows in enumerate(batch.each_view()):
            self._pipe.feed_input(input_of("start", view), np.ascontiguousarray(rows.window[:, :2]))
            self._pipe.feed_input(input_of("shape", view), np.ascontiguousarray(rows.window[:, 2:]))
            self._pipe.feed_input(input_of("flip", view), rows.flip.astype(np.int32))
            for number, edit in enumerate(rows.edits):
                for name, array in edit.parts.items():
                    for part, values in _inputs(name, array).items():
                        self._pipe.feed_input(input_of(part, view, number), values)

    def _take(self, running: deque[tuple[PlanBatch, Images]]) -> tuple[PlanBatch, torch.Tensor]:
        """Takes the oldest batch under way. On a GPU only the current stream waits for it."""
        pixels = self._copied() if self._gpu else self._shared()
        self._pipe.release_outputs()
        batch, _ = running.popleft()
        return batch, pixels.permute(0, 3, 1, 2)

    def _empty(self, running: deque[tuple[PlanBatch, Images]]) -> None:
        """Left in mid-epoch: the batches under way must come out before the pipeline can be used again."""
        try:
            while running and self._pipe is not None and self._process == os.getpid():
                self._take(running)
        except (RuntimeError, MemoryError):  # one holds a damaged image, which nobody asked for any more
            self._pipe = None

    def _shared(self) -> torch.Tensor:
        """On the CPU the tensor owns its share of DALI's buffer: the dynamic executor counts references."""
        views = [torch.utils.dlpack.from_dlpack(output.as_tensor()) for output in self._pipe.share_outputs()]
        return views[0] if len(views) == 1 else torch.cat(views)

    def _copied(self) -> torch.Tensor:
        """On a GPU the batch is copied into torch's memory in the current stream.

        At 2 TB/s that takes 6 us for 256 images of 64x64. The stream waits for DALI's, and DALI reuses its buffer
        behind the copy. A tensor that shares the buffer would have the whole device wait when it is freed: that is what
        DALI's DLPack capsules do.
        """
        stream = torch.cuda.current_stream(self.spec.device)
        outputs = self._pipe.share_outputs(cuda_stream=stream)
        views, images = len(outputs), len(outputs[0])
        pixels = torch.empty((views * images, *self.spec.output, 3), dtype=self.spec.dtype, device=self.spec.device)
        for output, view in zip(outputs, pixels.split(images), strict=True):
            output.copy_to_external(
                ctypes.c_void_p(view.data_ptr()), ctypes.c_void_p(stream.cuda_stream), non_blocking=True
            )
        return pixels

    def _unreadable(self, batches: list[PlanBatch]) -> InputError | None:
        """The error that names the image that DALI failed on, if it was one that does not decode."""
        if isinstance(self.store, HostStore) and self.store.encoded:
            for image in (i for batch in batches for i in batch.ids.tolist()):
                try:
                    self.store.pixels(np.array([image]))
                except InputError as error:
                    return error
        return None


def _inputs(name: EditPart, array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """A part of an edit as the graph takes it in: some of DALI's operations want it in two."""
    if name == "color":
        return {"color": np.ascontiguousarray(array[:, :, :3]), "offset": np.ascontiguousarray(array[:, :, 3])}
    if name == "erase":
        return {"erase": array[:, :2].astype(np.float32), "size": array[:, 2:].astype(np.float32)}
    return {name: array}
