"""The loader: iterates the batches of one part of a split."""

import atexit
import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Literal

import numpy as np
import torch

from feedline.pipeline.dataset import Dataset
from feedline.pipeline.engine import EngineName, EngineSpec, choose_engine, make_engine
from feedline.pipeline.errors import InputError
from feedline.pipeline.plan import Augment, Blocks, Crop, Plan, PlanBatch
from feedline.pipeline.stores import StoreName, choose_store, open_store

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Batch = tuple[torch.Tensor, torch.Tensor]


class Loader:
    """Batches `(images, labels)` of one part of a split, made ahead in the background.

    `images` is [B, 3, height, width] in channels-last memory, normalised (unless uint8); `labels` is int64 [B]; both on
    the device. Train parts come in a fresh order each epoch with the incomplete last batch dropped; val parts come in
    list order, every image once. `len(loader)` is the number of batches, the same every epoch; `batches` counts
    those of all ranks, one more where the last val batch is too short for this rank to have a share of it.

    A loop over the loader runs the epoch that `set_epoch` chose; without it, the one after the last finished. A loop
    may be left at any batch; the loader can be used again at once.

    Args:
        dataset: a dataset folder.
        split: e.g. `70-30`.
        part: `train` (augmented, shuffled) or `val`.
        batch_size: images in a batch, all ranks together.
        store: `files`, `jpeg`, `raw`, `resident`, or `auto` (see `choose_store`).
        engine: `dali`, `torch`, or `auto` (DALI on a GPU, torch on a CPU).
        device: where batches go, e.g. `cuda` or `cpu`.
        seed: of order, windows and flips.
        threads: worker threads on the host (all cores if None).
        image_size: side of the square output in pixels (the images' own size if None, or 224 where it varies).
        shuffle: for train: `full`, or `blocks` (for storage where random reads are slow: blocks of neighbours in random
            order, images mixed within groups of blocks).
        shuffle_block: neighbours in a block, for `blocks`.
        shuffle_group: blocks in a group, for `blocks`.
        crop: for train: `pad`, `random-resized`, or `auto` (`pad` where all images share one size).
        padding: pixels, for `pad`.
        flip: mirror half of the train images.
        mean, std: per channel RGB, in 0..1 (ImageNet's by default).
        dtype: of the images: float32 or float16; or uint8 for pixels that are not normalised.
        decode: on a GPU with DALI, `mixed` lets the GPU decode; `cpu` does not.
        prefetch: batches made ahead.
        classes: only the first so many classes.
        rank, world_size: this process's share of each batch.

    Raises:
        InputError: if an argument cannot be met.
    """

    AHEAD = 8  # batches between telling storage what will be read and reading it

    def __init__(
        self,
        dataset: Dataset,
        *,
        split: str = "70-30",
        part: Literal["train", "val"] = "train",
        batch_size: int = 256,
        store: StoreName | Literal["auto"] = "auto",
        engine: EngineName | Literal["auto"] = "auto",
        device: str | torch.device = "cpu",
        seed: int = 0,
        threads: int | None = None,
        image_size: int | None = None,
        shuffle: Literal["full", "blocks"] = "full",
        shuffle_block: int = 256,
        shuffle_group: int = 64,
        crop: Crop | Literal["auto"] = "auto",
        padding: int = 4,
        flip: bool = True,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
        dtype: torch.dtype = torch.float32,
        decode: Literal["cpu", "mixed"] = "mixed",
        prefetch: int = 3,
        classes: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.dataset, self.split, self.part = dataset, split, part
        self.device = torch.device(device)
        self.store_name = choose_store(dataset, self.device)[0] if store == "auto" else store
        self.engine_name = choose_engine(self.device) if engine == "auto" else engine
        self.batch_size, self.prefetch = batch_size, prefetch
        ids = dataset.ids(split, part, classes)
        self.images = len(ids)
        self.classes = classes or len(dataset.classes)
        self._store = open_store(self.store_name, dataset, self.device)
        own = self._store.size
        output = (image_size, image_size) if image_size else own or (224, 224)
        train = part == "train"
        augment = _augment(own, output, crop=crop, padding=padding, flip=flip) if train else _centered(own, output)
        self.plan = Plan(
            ids,
            self._store.sizes,
            batch_size=batch_size,
            augment=augment,
            shuffle=train,
            blocks=Blocks(shuffle_block, shuffle_group) if shuffle == "blocks" else None,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        self.spec = EngineSpec(
            output=output,
            window=self.plan.window_size(own),
            inside=augment.crop != "pad",
            whole=augment.crop == "center" and not augment.flip and own == output,
            batch_size=-(-batch_size // world_size),
            mean=mean,
            std=std,
            dtype=dtype,
            device=self.device,
            threads=threads or os.cpu_count() or 1,
            decode=decode,
            prefetch=prefetch,
        )
        self._engine = make_engine(self.engine_name, self._store, self.spec)
        self._epoch, self._first = 0, 0
        self._feed: _Producer | _Direct | None = None

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def batches(self) -> int:
        return self.plan.batches

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Chooses the epoch that the next loop runs, and its first batch (to resume in mid-epoch)."""
        if not 0 <= first <= len(self):
            raise IndexError(f"batch {first}: an epoch has {len(self)}")
        self._epoch, self._first = epoch, first

    def __iter__(self) -> Iterator[Batch]:
        self._end()
        epoch, first, self._first = self._epoch, self._first, 0
        batches = self._batches(epoch, first)
        # An engine that works in threads of its own needs no other one to run it.
        feed = self._feed = _Direct(batches) if self._engine.threaded else _Producer(batches, self.prefetch)
        try:
            for _ in range(first, len(self)):
                yield feed.take()
            if self._epoch == epoch:
                self._epoch += 1
        finally:
            feed.close()

    def close(self) -> None:
        """Ends the loop under way, if one was left without an end, and its threads. The loader may be used again."""
        self._end()
        self._engine.close()

    def _end(self) -> None:
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _batches(self, epoch: int, first: int) -> Generator[Batch, None, None]:
        """The epoch's batches, as they are made."""
        plans: list[PlanBatch] = []

        def planned() -> Iterator[PlanBatch]:
            for plan in self._announced(epoch, first):
                plans.append(plan)
                yield plan

        made = self._engine.run(planned())
        try:
            for images in made:
                yield images, self._labels(plans.pop(0))
        except RuntimeError as error:
            raise self._culprit(plans, error) from error
        finally:
            made.close()

    def _announced(self, epoch: int, first: int) -> Iterator[PlanBatch]:
        """The epoch's plan; storage hears of a batch a little before it is asked for it, where that helps."""
        batches = (self.plan.batch(epoch, k) for k in range(first, len(self)))
        if self.plan.shuffle and not self.plan.blocks and not self._store.large:
            return batches  # neither neighbours that could be read at once, nor anything to be read early
        return self._announcing(epoch, first, batches)

    def _announcing(self, epoch: int, first: int, batches: Iterator[PlanBatch]) -> Iterator[PlanBatch]:
        coming: deque[PlanBatch] = deque()
        for k, plan in enumerate(batches, first):
            coming.append(plan)
            for ids in self.plan.soon(epoch, k, first) if self.plan.blocks else [plan.ids]:
                self._store.expect(ids)
            if len(coming) > self.AHEAD:
                yield coming.popleft()
        yield from coming

    def _labels(self, batch: PlanBatch) -> torch.Tensor:
        labels = torch.from_numpy(self.dataset.labels.take(batch.ids).astype(np.int64))
        if self.device.type == "cuda":
            return labels.pin_memory().to(self.device, non_blocking=True)
        return labels

    def _culprit(self, plans: list[PlanBatch], error: Exception) -> Exception:
        """Names the image that DALI stumbled over, if it was one."""
        if self._store.encoded:
            for image in (i for plan in plans for i in plan.ids.tolist()):
                try:
                    self._store.pixels(np.array([image]))
                except InputError as named:
                    return named
        return error


def _augment(
    own: tuple[int, int] | None,
    output: tuple[int, int],
    *,
    crop: Crop | Literal["auto"],
    padding: int,
    flip: bool,
) -> Augment:
    if crop == "auto":
        crop = "random-resized" if own is None else "pad"
    return Augment(output, crop=crop, padding=padding, flip=flip)


def _centered(own: tuple[int, int] | None, output: tuple[int, int]) -> Augment:
    """Eval takes the whole of images of one size, and the usual 7/8 of the largest centre of others."""
    return Augment(output, crop="center", crop_fraction=0.875 if own is None else 1.0)


_ENDED = "this loop over the loader was ended by another one; only one can run at a time"


class _Direct:
    """An iterator that is run where its items are taken."""

    def __init__(self, items: Generator[Batch, None, None]) -> None:
        self._items = items

    def take(self) -> Batch:
        try:
            return next(self._items)
        except StopIteration as error:
            raise RuntimeError(_ENDED) from error

    def close(self) -> None:
        self._items.close()


class _Producer:
    """Runs an iterator in a thread and holds up to `depth` of its items."""

    def __init__(self, items: Generator[Batch, None, None], depth: int) -> None:
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(depth)
        self._stop = threading.Event()
        self._items = items
        self._thread = threading.Thread(target=self._run, name="feedline-loader", daemon=True)
        self._thread.start()
        # A thread that still runs DALI or torch while the interpreter ends would abort the process.
        atexit.register(self.close)

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:
            self._put(error)
        finally:
            self._items.close()

    def _put(self, item: "Batch | BaseException") -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def take(self) -> Batch:
        if self._stop.is_set():
            raise RuntimeError(_ENDED)
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stops and waits for the thread; nothing of it is left afterwards."""
        atexit.unregister(self.close)
        self._stop.set()
        while self._thread.is_alive():
            self._thread.join(timeout=0.05)
            while not self._queue.empty():
                self._queue.get_nowait()
