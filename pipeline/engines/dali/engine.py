"""Feeds the graph and takes its batches."""

from collections import deque
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from feedline.pipeline.engines.dali.graph import graph
from feedline.pipeline.engines.types import EngineBatches, EngineSpec
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import HostStore, Store

Images: TypeAlias = "list[NDArray[np.uint8]] | torch.Tensor"


class DaliEngine:
    """Bytes or pixels and a plan to normalised batches, with NVIDIA DALI."""

    threaded = False  # DALI's threads work only while run() feeds them

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        self._gpu = spec.device.type == "cuda"
        self._pipe: Any = None

    def run(self, batches: Iterable[PlanBatch]) -> EngineBatches:
        # The pipeline reads its inputs in place (no_copy): they are kept here until their batch has come out.
        running: deque[tuple[PlanBatch, Images]] = deque()
        try:
            for batch in batches:
                images = self.store.read(batch.ids)
                if self._pipe is None:
                    self._start(images[:1])
                running.append((batch, images))
                self._feed(images, batch.window, batch.flip)
                self._pipe.schedule_run()
                if len(running) == self.spec.prefetch:
                    yield self._take(running)
            while running:
                yield self._take(running)
        except RuntimeError as error:
            self._pipe = None  # after an error a pipeline is no longer valid, says DALI
            culprit = self._unreadable([batch for batch, _ in running])
            running.clear()
            raise culprit or error from error
        finally:
            # Left in mid-epoch: the batches under way must come out before the pipeline can be used again.
            while running:
                self._take(running)

    def close(self) -> None:
        """No-op: DALI's threads belong to its pipeline, which takes long to build and is kept for the next run."""

    def _start(self, one_image: Images) -> None:
        """Builds the pipeline and primes its prefetch queue with dummy batches of one image."""
        self._pipe = graph(
            self.spec,
            encoded=self.store.encoded,
            on_device=isinstance(one_image, torch.Tensor),
            batch_size=self.spec.batch_size,
            num_threads=self.spec.threads,
            device_id=self.spec.device.index or 0 if self._gpu else None,
            prefetch_queue_depth=self.spec.prefetch,
        )
        self._pipe.build()
        for _ in range(self.spec.prefetch):
            self._feed(one_image, np.array([[0, 0, 1, 1]], dtype=np.int32), np.zeros(1, dtype=bool))
        self._pipe.schedule_run()
        for _ in range(self.spec.prefetch):
            self._pipe.share_outputs()
            self._pipe.release_outputs()

    def _feed(self, images: Images, window: NDArray[np.int32], flip: NDArray[np.bool_]) -> None:
        stream = torch.cuda.current_stream(self.spec.device) if isinstance(images, torch.Tensor) else None
        self._pipe.feed_input("images", images, cuda_stream=stream)
        self._pipe.feed_input("start", np.ascontiguousarray(window[:, :2]))
        self._pipe.feed_input("shape", np.ascontiguousarray(window[:, 2:]))
        self._pipe.feed_input("flip", flip.astype(np.int32))

    def _take(self, running: deque[tuple[PlanBatch, Images]]) -> tuple[PlanBatch, torch.Tensor]:
        """Waits for the oldest batch under way."""
        stream = torch.cuda.current_stream(self.spec.device) if self._gpu else None
        (output,) = self._pipe.share_outputs(cuda_stream=stream)
        # On the CPU the tensor owns its share of DALI's buffer (the dynamic executor counts references). On the GPU a
        # copy, 10 us at 2 TB/s, hands the memory to torch's allocator and so to its stream rules.
        shared = torch.utils.dlpack.from_dlpack(output.as_tensor())
        pixels = shared.clone() if self._gpu else shared
        self._pipe.release_outputs()
        batch, _ = running.popleft()
        return batch, pixels.permute(0, 3, 1, 2)

    def _unreadable(self, batches: list[PlanBatch]) -> InputError | None:
        """The error that names the image that DALI failed on, if it was one that does not decode."""
        if isinstance(self.store, HostStore) and self.store.encoded:
            for image in (i for batch in batches for i in batch.ids.tolist()):
                try:
                    self.store.pixels(np.array([image]))
                except InputError as error:
                    return error
        return None
