"""The torch engine: the reference for what a batch must be, and the engine where DALI cannot be had."""

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2.functional import resize

from pipeline.decode import decode
from pipeline.engine import EngineSpec
from pipeline.plan import PlanBatch
from pipeline.stores import Store


def crop(image: NDArray[np.uint8], window: Sequence[int], flip: bool, out: NDArray[np.uint8]) -> None:
    """Copies a window (y, x, height, width) of an image [H, W, 3] into zeroed `out` [height, width, 3].

    What lies outside the image stays zero.
    """
    y, x, height, width = window
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, image.shape[0]), min(x + width, image.shape[1])
    source = image[top:bottom, left:right]
    if flip:
        out[top - y : bottom - y, x + width - right : x + width - left] = source[:, ::-1]
    else:
        out[top - y : bottom - y, left - x : right - x] = source


class TorchEngine:
    """Bytes and a plan to normalised batches, with numpy and torch.

    Whole batches are made side by side in `threads` threads and handed out in order.
    """

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        pixels = spec.output[0] * spec.output[1]
        # (x / 255 - mean) / std as one multiply-add on rows of all pixels: 2 us an image of 64x64, where broadcasting
        # over three channels takes 9.
        std = torch.tensor(spec.std) * 255
        self._scale = (1 / std).repeat(pixels).to(spec.device)
        self._shift = (-torch.tensor(spec.mean) * 255 / std).repeat(pixels).to(spec.device)

    def run(self, batches: Iterable[PlanBatch]) -> Generator[torch.Tensor, None, None]:
        """Yields a batch for each plan batch: [B, 3, height, width] in channels-last memory, on the device."""
        source = iter(batches)
        waiting: deque[Future[torch.Tensor]] = deque()
        with ThreadPoolExecutor(self.spec.threads, thread_name_prefix="feedline-torch") as pool:
            try:
                for batch in source:
                    waiting.append(pool.submit(self.make, batch))
                    if len(waiting) > self.spec.threads:
                        yield self._finish(waiting.popleft().result())
                while waiting:
                    yield self._finish(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def make(self, batch: PlanBatch) -> torch.Tensor:
        """The cropped, flipped, resized pixels of a batch: uint8 [B, height, width, 3]."""
        images = self.store.read(batch.ids)
        if isinstance(images, torch.Tensor):
            return self._on_device(images, batch)
        if self.store.encoded:
            images = [decode(data)[0] for data in images]
        windows, flips = batch.window.tolist(), batch.flip.tolist()
        if all(window[2:] == windows[0][2:] for window in windows):
            pixels = self._crop(images, windows, flips)
            return pixels if pixels.shape[1:3] == self.spec.output else self._resize(pixels)
        each = zip(images, windows, flips, strict=True)
        return torch.cat([self._resize(self._crop([image], [window], [flip])) for image, window, flip in each])

    def _crop(self, images: list[NDArray[np.uint8]], windows: list[list[int]], flips: list[bool]) -> torch.Tensor:
        """Windows of one size: uint8 [B, height, width, 3], in pinned memory if a GPU is to read them."""
        shape = (len(images), *windows[0][2:], 3)
        out = torch.zeros(shape, dtype=torch.uint8, pin_memory=self.spec.device.type == "cuda")
        for image, window, flip, slot in zip(images, windows, flips, out.numpy(), strict=True):
            crop(image, window, flip, slot)
        return out

    def _resize(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, h, w, 3] to [B, height, width, 3], bilinear with antialiasing."""
        resized = resize(pixels.permute(0, 3, 1, 2), list(self.spec.output), antialias=True)
        return resized.permute(0, 2, 3, 1)

    def _on_device(self, images: torch.Tensor, batch: PlanBatch) -> torch.Tensor:
        """The same by one gather on the device: uint8 [B, H, W, 3] in, windows of one size."""
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
        pixels = images[which, rows[:, :, None], columns[:, None, :]] * inside[..., None]
        return pixels if (height, width) == self.spec.output else self._resize(pixels)

    def _finish(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [B, height, width, 3] to normalised [B, 3, height, width] on the device."""
        moved = pixels.to(self.spec.device, non_blocking=True).flatten(1)
        batch = torch.addcmul(self._shift, moved.to(torch.float32), self._scale)
        return batch.to(self.spec.dtype).view(pixels.shape).permute(0, 3, 1, 2)
