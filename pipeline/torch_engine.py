"""The torch engine: the faster one on a CPU, and the one where DALI cannot be had."""

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch.nn.functional import interpolate

from pipeline.buffers import BufferPool
from pipeline.crops import BlockCropper, crop
from pipeline.engine import EngineSpec
from pipeline.plan import PlanBatch
from pipeline.stores import Store


class TorchEngine:
    """Bytes and a plan to normalised batches, with numpy and torch.

    Whole batches are made side by side in `threads` threads and handed out in order. On a GPU they are cropped (if the
    images share one size) and normalised there.
    """

    threaded = True

    CROP_BLOCK = 64  # images cropped at once: fewer cost more calls, more fall out of a core's cache
    SCALE_BLOCK = 32  # images normalised at once: the same, in float32

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        self._gpu = spec.device.type == "cuda"
        pixels = spec.output[0] * spec.output[1]
        # (x / 255 - mean) / std as a product and a sum with rows of all pixels: 3 us an image of 64x64
        # (bench.stages); broadcasting over three channels runs in loops of three.
        std = torch.tensor(spec.std) * 255
        self._scale = (1 / std).repeat(pixels).to(spec.device)
        self._shift = (-torch.tensor(spec.mean) * 255 / std).repeat(pixels).to(spec.device)
        self._pool = BufferPool(
            spec.batch_size * pixels * 3 * spec.dtype.itemsize, 2 * spec.prefetch + spec.threads + 2
        )
        self._threads = torch.get_num_threads()  # also: settles the number of the thread that builds us
        self._own = threading.local()

    def run(self, batches: Iterable[PlanBatch]) -> Generator[torch.Tensor, None, None]:
        """Yields a batch for each plan batch: [B, 3, height, width] in channels-last memory, on the device."""
        waiting: deque[tuple[PlanBatch, Future[torch.Tensor]]] = deque()
        with self._workers() as pool:
            try:
                for batch in batches:
                    waiting.append((batch, pool.submit(self._make, batch)))
                    if len(waiting) >= self.spec.threads + self.spec.prefetch:
                        yield self._finish(*waiting.popleft())
                while waiting:
                    yield self._finish(*waiting.popleft())
            finally:
                for _, future in waiting:
                    future.cancel()

    def _workers(self) -> ThreadPoolExecutor:
        """Threads that run torch's operations on one core each; torch would use all cores in each of them."""
        started = threading.Barrier(self.spec.threads + 1)

        def start() -> None:
            torch.get_num_threads()  # a thread's first call takes over the common number: from here on it has its own
            torch.set_num_threads(1)
            started.wait()

        pool = ThreadPoolExecutor(self.spec.threads, thread_name_prefix="feedline-torch", initializer=start)
        for _ in range(self.spec.threads):
            pool.submit(int)
        started.wait()
        torch.set_num_threads(self._threads)  # what threads to come begin with
        return pool

    def _make(self, batch: PlanBatch) -> torch.Tensor:
        """Runs in a worker. On the CPU [B, height, width, 3] finished; for a GPU uint8, what it is to finish."""
        if self._gpu:
            return self._whole(batch) if self._alike(batch) else self._each(batch)
        out = self._pool.take((len(batch), *self.spec.output, 3), self.spec.dtype)
        if not self._alike(batch):
            self._write(self._each(batch), out)
        elif self.spec.dtype == torch.uint8 and self._nothing_to_crop(batch):
            self.store.gather(batch.ids, out.numpy())
        else:
            for first in range(0, len(batch), self.CROP_BLOCK):
                some = slice(first, first + self.CROP_BLOCK)
                pixels = self._cropper()(self.store.gather, batch.ids[some], batch.window[some], batch.flip[some])
                self._write(self._resize(torch.from_numpy(pixels)), out[some])
        return out

    def _alike(self, batch: PlanBatch) -> bool:
        """Whether images share one size, and windows too."""
        if self.store.size is None:
            return False
        return _one_window(batch) or bool((batch.window[:, 2:] == batch.window[0, 2:]).all())

    def _nothing_to_crop(self, batch: PlanBatch) -> bool:
        if self.store.size != self.spec.output or batch.flip.any():
            return False
        windows = batch.window[:1] if _one_window(batch) else batch.window
        return bool((windows == (0, 0, *self.spec.output)).all())

    def _cropper(self) -> BlockCropper:
        """This thread's own."""
        if not hasattr(self._own, "cropper"):
            assert self.store.size is not None
            self._own.cropper = BlockCropper(self.store.size, min(self.CROP_BLOCK, self.spec.batch_size))
        cropper: BlockCropper = self._own.cropper
        return cropper

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

    def _write(self, pixels: torch.Tensor, out: torch.Tensor) -> None:
        """Normalises uint8 [B, height, width, 3] into `out`; uint8 is left as it is."""
        if out.dtype != torch.float32:
            out.copy_(pixels if out.dtype == torch.uint8 else self._normalise(pixels))
            return
        source, target = pixels.flatten(1), out.flatten(1)
        for first in range(0, len(source), self.SCALE_BLOCK):
            some = target[first : first + self.SCALE_BLOCK]
            some.copy_(source[first : first + self.SCALE_BLOCK])
            torch.addcmul(self._shift, some, self._scale, out=some)

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        flat = torch.addcmul(self._shift, pixels.flatten(1).to(torch.float32), self._scale)
        return flat.to(self.spec.dtype).view(pixels.shape)

    def _finish(self, batch: PlanBatch, made: Future[torch.Tensor]) -> torch.Tensor:
        """The batch [B, 3, height, width] on the device."""
        pixels = made.result()
        if self._gpu:
            pixels = pixels.to(self.spec.device, non_blocking=True)
            if self._alike(batch):
                pixels = self._crop_on_device(pixels, batch)
            pixels = pixels if self.spec.dtype == torch.uint8 else self._normalise(pixels)
        return pixels.permute(0, 3, 1, 2)

    def _whole(self, batch: PlanBatch) -> torch.Tensor:
        """Images of one size, not cropped yet: in the GPU's memory, or in pinned memory on its way there."""
        assert self.store.size is not None
        images = self.store.read(batch.ids) if not self.store.encoded else []
        if isinstance(images, torch.Tensor):
            return images
        out = torch.empty((len(batch), *self.store.size, 3), dtype=torch.uint8, pin_memory=True)
        self.store.gather(batch.ids, out.numpy())
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


def _one_window(batch: PlanBatch) -> bool:
    """Whether the plan holds one window for all, as it does where every image is taken whole."""
    return batch.window.strides[0] == 0
