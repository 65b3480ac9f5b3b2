"""The DALI engine: one graph for CPU and GPU, train and eval, every store."""

from collections import deque
from collections.abc import Generator, Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from nvidia.dali import fn, pipeline_def, types

from feedline.pipeline.engine import EngineSpec
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import Images, Store

_DTYPES = {torch.float32: types.FLOAT, torch.float16: types.FLOAT16, torch.uint8: types.UINT8}


@pipeline_def(enable_conditionals=False)
def graph(spec: EngineSpec, *, encoded: bool, on_device: bool) -> Any:
    """Read or decode, slice by the window, resize where its size is not the output's, mirror, normalise.

    Args:
        spec: what every engine is told.
        encoded: the images are bytes of image files.
        on_device: the images are already in the GPU's memory.
    """
    gpu = spec.device.type == "cuda"
    window_only = encoded and spec.resize and spec.inside  # decoding what is cut away would cost more than the rest
    images = fn.external_source(
        name="images", device="gpu" if on_device else "cpu", no_copy=True, layout=None if encoded else "HWC"
    )
    start = fn.external_source(name="start")
    shape = fn.external_source(name="shape")
    flip = fn.external_source(name="flip")
    if encoded:
        # Fancy upsampling is libjpeg-turbo's (and so Pillow's and torchvision's) way of enlarging the chroma planes.
        options = {"output_type": types.RGB, "jpeg_fancy_upsampling": True}
        options["device"] = "mixed" if gpu and spec.decode == "mixed" else "cpu"
        if window_only:
            images = fn.decoders.image_slice(images, start=start, shape=shape, axes=(0, 1), **options)
        else:
            images = fn.decoders.image(images, **options)
    if gpu and not on_device:
        images = images.gpu()
    if not window_only:
        images = fn.slice(images, start=start, shape=shape, axes=(0, 1), out_of_bounds_policy="pad", fill_values=0)
    if spec.resize:
        images = fn.resize(images, size=spec.output, interp_type=types.INTERP_LINEAR, antialias=True)
    mean, std = ((0.0,) * 3, (1 / 255,) * 3) if spec.dtype == torch.uint8 else (spec.mean, spec.std)
    return fn.crop_mirror_normalize(
        images,
        mirror=flip,
        mean=[255 * v for v in mean],
        std=[255 * v for v in std],
        dtype=_DTYPES[spec.dtype],
        output_layout="HWC",
    )


class DaliEngine:
    """Bytes and a plan to normalised batches, with NVIDIA DALI."""

    threaded = False  # DALI's own threads wait for what run() reads and feeds

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        self._gpu = spec.device.type == "cuda"
        self._pipe: Any = None

    def run(self, batches: Iterable[PlanBatch]) -> Generator[torch.Tensor, None, None]:
        """Yields a batch for each plan batch: [B, 3, height, width] in channels-last memory, on the device."""
        # The pipeline reads its inputs in place (no_copy): they are held here until their batch has come out.
        running: deque[Images] = deque()
        try:
            for batch in batches:
                images = self.store.read(batch.ids)
                if self._pipe is None:
                    self._start(images[:1])
                running.append(images)
                self._feed(images, batch.window, batch.flip)
                self._pipe.schedule_run()
                if len(running) == self.spec.prefetch:
                    yield self._take(running)
            while running:
                yield self._take(running)
        except RuntimeError:
            self._pipe = None  # DALI says so itself: after an error a pipeline is no longer valid
            running.clear()
            raise
        finally:
            # Left in mid-epoch: what is under way must come out before the pipeline can be used again.
            while running:
                self._take(running)

    def close(self) -> None:
        """Nothing: DALI's threads belong to its pipeline, which takes long to build and so stays for the next run."""

    def _start(self, one: Images) -> None:
        """Builds the pipeline. Its first run starts `prefetch` of them; a batch of one image each fills them up."""
        self._pipe = graph(
            self.spec,
            encoded=self.store.encoded,
            on_device=isinstance(one, torch.Tensor),
            batch_size=self.spec.batch_size,
            num_threads=self.spec.threads,
            device_id=self.spec.device.index or 0 if self._gpu else None,
            prefetch_queue_depth=self.spec.prefetch,
        )
        self._pipe.build()
        for _ in range(self.spec.prefetch):
            self._feed(one, np.array([[0, 0, 1, 1]], dtype=np.int32), np.zeros(1, dtype=bool))
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

    def _take(self, running: deque[Images]) -> torch.Tensor:
        stream = torch.cuda.current_stream(self.spec.device) if self._gpu else None
        (output,) = self._pipe.share_outputs(cuda_stream=stream)
        # On the CPU the tensor owns its share of DALI's buffer (the dynamic executor counts references). On the GPU a
        # copy, 10 us at 2 TB/s, hands the memory to torch's allocator and so to its stream rules.
        tensor = torch.utils.dlpack.from_dlpack(output.as_tensor())
        batch = tensor.clone() if self._gpu else tensor
        self._pipe.release_outputs()
        running.popleft()
        return batch.permute(0, 3, 1, 2)
