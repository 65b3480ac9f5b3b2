"""The loader: iterates the batches of one part of a split."""

import os
from collections.abc import Generator, Iterator

import numpy as np
import torch

from feedline.pipeline.augment import Augmentations, Center, resolve_training
from feedline.pipeline.augment.types import Size
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.engines.choose import choose_engine, make_engine
from feedline.pipeline.engines.types import Engine, EngineSpec
from feedline.pipeline.errors import InputError
from feedline.pipeline.options import LoaderOptions, Source, takes_options
from feedline.pipeline.plan import Blocks, Plan, PlanBatch
from feedline.pipeline.prefetch import Direct, Prefetcher
from feedline.pipeline.readahead import read_ahead
from feedline.pipeline.stores import open_store, resolve_store

Batch = tuple[torch.Tensor, torch.Tensor]


class Loader:
    """Batches `(images, labels)` of one part of a split, made ahead in the background.

    `images` is [B, 3, height, width] in channels-last memory, normalised (unless uint8); `labels` is int64 [B]; both on
    the device. Train parts come in a fresh order each epoch with the incomplete last batch dropped; val parts come in
    list order, every image once. `len(loader)` is the number of batches, the same every epoch; `batches` counts
    those of all ranks, one more where the last val batch is too short for this rank to have a share of it.

    A loop over the loader runs the epoch that `set_epoch` chose; without it, the one after the last finished. A loop
    may be left at any batch; the loader can be used again at once. Where `image_size` is a schedule, train batches have
    the size of their epoch (see `output`); the engine of the size before is closed when a loop starts with another.

    Args:
        dataset: a dataset folder, or its path.
        **options: see `LoaderOptions`, which lists them with their defaults.

    Attributes:
        options: as given.
        images: in the part.
        classes: labels run from 0 to below this.
        plan: which image, window and flip every slot of an epoch has.
        spec: the settings of the engine, for the size of the last loop (before the first: of epoch 0).

    Raises:
        InputError: if an option cannot be met.
    """

    @takes_options(LoaderOptions)
    def __init__(self, dataset: Source, options: LoaderOptions) -> None:
        dataset = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        self.dataset, self.options = dataset, options
        self.split, self.part, self.batch_size = options.split, options.part, options.batch_size
        self.device = _device(options.device)
        self.store_name = resolve_store(options.store, dataset, self.device)
        self.engine_name = choose_engine(self.device) if options.engine == "auto" else options.engine
        ids = dataset.ids(options.split, options.part, options.classes)
        self.images, self.classes = len(ids), options.classes or len(dataset.classes)
        self._store = open_store(self.store_name, dataset, self.device)
        self.plan = Plan(
            ids,
            self._store.sizes,
            batch_size=options.batch_size,
            augment=_augmentations(options, self._store.size, self.output(0)),
            shuffle=options.part == "train",
            blocks=Blocks(options.shuffle_block, options.shuffle_group) if options.shuffle == "blocks" else None,
            seed=options.seed,
            rank=options.rank,
            world_size=options.world_size,
        )
        self._engine: Engine | None = None
        self._equip(self.output(0))
        self._epoch, self._first = 0, 0
        self._output: Size | None = None
        self._source: Direct[Batch] | Prefetcher[Batch] | None = None

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def batches(self) -> int:
        """Batches in an epoch, over all ranks."""
        return self.plan.batches

    def output(self, epoch: int) -> Size:
        """(height, width) in pixels of the batches of an epoch."""
        sizes = self.options.sizes
        if self.part == "val":
            return self.eval_output
        return self._own_size if sizes is None else (sizes.at(epoch), sizes.at(epoch))

    @property
    def eval_output(self) -> Size:
        """(height, width) in pixels of the batches in evaluation."""
        side = self.options.eval_size or self.options.last_size
        return self._own_size if side is None else (side, side)

    @property
    def _own_size(self) -> Size:
        """The size of the images, or 224 where it varies."""
        return self._store.size or (224, 224)

    def set_epoch(self, epoch: int, first: int = 0, *, output: Size | None = None) -> None:
        """Chooses the epoch that the next loop runs.

        Args:
            epoch: counted from 0.
            first: the first batch (to resume in mid-epoch).
            output: (height, width) of that loop's batches in pixels, instead of the epoch's; order, windows and flips
                stay the same.
        """
        if not 0 <= first <= len(self):
            raise IndexError(f"batch {first}: an epoch has {len(self)}")
        self._epoch, self._first, self._output = epoch, first, output

    def __iter__(self) -> Iterator[Batch]:
        self.end_loop()
        epoch, first, self._first = self._epoch, self._first, 0
        output, self._output = self._output, None
        self._resize(output or self.output(epoch))
        assert self._engine is not None
        batches = self._batches(self._engine, epoch, first)
        source = self._source = Direct(batches) if self._engine.threaded else Prefetcher(batches, self.options.prefetch)
        try:
            for _ in range(first, len(self)):
                yield source.take()
            if self._epoch == epoch:
                self._epoch += 1
        finally:
            source.close()

    def close(self) -> None:
        """Ends the loop under way, if one was left without an end, and all threads. The loader may be used again."""
        self.end_loop()
        if self._engine is not None:
            self._engine.close()

    def _resize(self, output: Size) -> None:
        """Changes the size of the output. Of the engine before, no thread and no memory is left."""
        if self._engine is not None and output == self.spec.output:
            return
        if self._engine is not None:
            self._engine.close()
            self._engine = None  # before there is another one: both might not fit
        self._equip(output)

    def _equip(self, output: Size) -> None:
        """Builds what depends on the size of the output."""
        augment = _augmentations(self.options, self._store.size, output)
        self.plan.use(augment)
        self.spec = _spec(self.options, augment, self._store.size, self.device)
        self._engine = make_engine(self.engine_name, self._store, self.spec)

    def end_loop(self) -> None:
        """Ends the loop under way, if one was left without an end. The engine is kept."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def _batches(self, engine: Engine, epoch: int, first: int) -> Generator[Batch, None, None]:
        """The epoch's batches, as the engine makes them."""
        batches = engine.run(read_ahead(self.plan, self._store, epoch, first))
        try:
            for planned, images in batches:
                yield images, self._labels(planned)
        finally:
            batches.close()

    def _labels(self, batch: PlanBatch) -> torch.Tensor:
        labels = torch.from_numpy(self.dataset.labels.take(batch.ids).astype(np.int64))
        if self.device.type == "cuda":
            return labels.pin_memory().to(self.device, non_blocking=True)
        return labels


def _device(name: str | torch.device) -> torch.device:
    """Raises InputError if it is no CPU or GPU of this machine."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"`device={name}`: must be cpu, cuda or a GPU as cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"`device={name}`: must be cpu, cuda or a GPU as cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"`device={name}`: torch finds no CUDA GPU here; use `device=cpu`, or check the driver")
    return device


def _augmentations(options: LoaderOptions, image: Size | None, output: Size) -> Augmentations:
    """What is done to images whose size is `image`, (height, width) in pixels; None if it varies."""
    if options.part == "train":
        return resolve_training(options.augment, image, output)
    # The whole of images of one size, and the usual 7/8 of the largest centre of others.
    return Augmentations(output, Center(options.crop_fraction or (0.875 if image is None else 1.0)))


def _spec(
    options: LoaderOptions, augment: Augmentations, image: tuple[int, int] | None, device: torch.device
) -> EngineSpec:
    return EngineSpec(
        output=augment.output,
        window=augment.window_size(image),
        inside=augment.crop.inside,
        whole_images=augment.whole_images(image),
        edits=augment.parts,
        batch_size=-(-options.batch_size // options.world_size),
        mean=tuple(options.mean),
        std=tuple(options.std),
        dtype=options.dtype,
        device=device,
        threads=options.threads or os.cpu_count() or 1,
        decode=options.decode,
        prefetch=options.prefetch,
    )
