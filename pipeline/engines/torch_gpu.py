"""The torch engine on a GPU: the one where DALI cannot be installed."""

from collections.abc import Iterable

import torch

from feedline.pipeline.engines.edits import edited
from feedline.pipeline.engines.resize import resize
from feedline.pipeline.engines.torch_cpu import crop_each_into
from feedline.pipeline.engines.types import EngineBatches, EngineSpec
from feedline.pipeline.engines.workers import WorkerPool, in_order
from feedline.pipeline.plan import PlanBatch
from feedline.pipeline.stores import HostStore, Store


class TorchGpuEngine:
    """Bytes or pixels and a plan to normalised batches on a GPU.

    Threads on the host read and decode; the GPU crops, where windows share one size, and normalises.
    """

    threaded = True

    PINNED_BYTES = 2 << 30  # of batches made ahead: on 128 cores, at 224 pixels, one a thread would be 5 GiB

    def __init__(self, store: Store, spec: EngineSpec) -> None:
        self.store, self.spec = store, spec
        # (x / 255 - mean) / std as a product and a sum, with rows of all pixels: broadcasting over three channels is
        # slow.
        pixels, std = spec.output[0] * spec.output[1], torch.tensor(spec.std, device="cpu") * 255
        self._scale = (1 / std).repeat(pixels).to(spec.device)
        self._shift = (-torch.tensor(spec.mean, device="cpu") * 255 / std).repeat(pixels).to(spec.device)
        self.ahead = batches_ahead(spec, self.PINNED_BYTES)
        self._workers = WorkerPool(self, spec.threads, spec.device)

    def run(self, batches: Iterable[PlanBatch]) -> EngineBatches:
        for batch, pixels in in_order(self._workers.start(), iter(batches), self._read, ahead=self.ahead):
            yield batch, self._finish(batch, pixels).permute(0, 3, 1, 2)

    def close(self) -> None:
        self._workers.close()

    def _read(self, batch: PlanBatch) -> torch.Tensor | None:
        """Runs in a worker: uint8 [B, H, W, 3], whole images of one size, or [V * B, ...] windows where sizes vary.

        In pinned memory; None for images that lie on the GPU. A worker queues no work there: its stream is not the one
        on which the batch is finished, and nothing would order the two.
        """
        if not isinstance(self.store, HostStore):
            return None
        size = self.store.size if self.spec.window else self.spec.output
        assert size is not None
        images = len(batch) if self.spec.window else batch.rows
        out = torch.empty((images, *size, 3), dtype=torch.uint8, device="cpu", pin_memory=True)
        if self.spec.window:
            self.store.gather(batch.ids, out.numpy())
        else:
            crop_each_into(self.store, batch, out)
        return out

    def _finish(self, batch: PlanBatch, read: torch.Tensor | None) -> torch.Tensor:
        """The batch [V * B, height, width, 3] on the device, by work in the current stream."""
        if read is not None:
            pixels = read.to(self.spec.device, non_blocking=True)
        else:
            assert not isinstance(self.store, HostStore)
            pixels = self.store.read(batch.ids)
        if self.spec.window is not None:
            pixels = resize(cut_windows(pixels, batch), self.spec.output)
        elif not isinstance(self.store, HostStore):
            pixels = cut_each(pixels, batch, self.spec.output)
        pixels = edited(pixels, batch.edits, self.spec.mean)
        return pixels if self.spec.dtype == torch.uint8 else self._normalise(pixels)

    def _normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        flat = torch.addcmul(self._shift, pixels.flatten(1).to(torch.float32), self._scale)
        return flat.to(self.spec.dtype).view(pixels.shape)


def batches_ahead(spec: EngineSpec, limit: int) -> int:
    """Batches made ahead: one for each thread and `prefetch` more, as many as `limit` bytes hold, at least `prefetch`.

    Counted at the size of the output, uint8.
    """
    nbytes = spec.batch_size * spec.views * spec.output[0] * spec.output[1] * 3
    return min(spec.threads + spec.prefetch, max(spec.prefetch, limit // nbytes))


def cut_windows(images: torch.Tensor, batch: PlanBatch) -> torch.Tensor:
    """Windows of one size, mirrored, by one gather on the device: uint8 [B, H, W, 3] to [V * B, height, width, 3]."""
    # A copy: one window for all images is a read-only array, at which torch warns.
    window = torch.from_numpy(batch.window.copy()).to(images.device, non_blocking=True).long()
    flip = torch.from_numpy(batch.flip).to(images.device, non_blocking=True)
    height, width = batch.window[0, 2:].tolist()
    rows = window[:, :1] + torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device)
    columns = window[:, 1:2] + torch.where(flip[:, None], across.flip(0), across)
    inside_rows = (rows >= 0) & (rows < images.shape[1])
    inside_columns = (columns >= 0) & (columns < images.shape[2])
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    rows, columns = rows.clamp(0, images.shape[1] - 1), columns.clamp(0, images.shape[2] - 1)
    which = torch.arange(len(images), device=images.device).repeat(batch.views)[:, None, None]
    return images[which, rows[:, :, None], columns[:, None, :]] * inside[..., None]


def cut_each(images: torch.Tensor, batch: PlanBatch, output: tuple[int, int]) -> torch.Tensor:
    """Windows of all sizes, inside their images, resized and mirrored: uint8 [B, H, W, 3] to [V * B, *output, 3]."""
    rows = (image for _ in range(batch.views) for image in images)
    windows = zip(rows, batch.window.tolist(), batch.flip.tolist(), strict=True)
    cut = [
        resize((image.flip(1) if flip else image)[None, y : y + h, _columns(image, x, w, flip)], output)
        for image, (y, x, h, w), flip in windows
    ]
    return torch.cat(cut)


def _columns(image: torch.Tensor, x: int, width: int, flip: bool) -> slice:
    """The columns of a window, in the mirrored image if it is one."""
    left = image.shape[1] - x - width if flip else x
    return slice(left, left + width)
