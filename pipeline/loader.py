"""The loader: iterates the batches of one part of a split."""

import dataclasses
import operator
import os
import threading
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import Any, Literal

import torch

from feedline.output import counted
from feedline.pipeline.augment import as_text, resolve_training
from feedline.pipeline.augment.types import Size
from feedline.pipeline.dataset import Dataset
from feedline.pipeline.engines.choose import choose_engine, make_engine
from feedline.pipeline.engines.types import Engine, EngineBatches
from feedline.pipeline.errors import InputError
from feedline.pipeline.options import LoaderOptions, Source, takes_options
from feedline.pipeline.part import Part, choose_ids, choose_split, choose_targets, choose_weights
from feedline.pipeline.plan import Blocks, Plan, PlanBatch
from feedline.pipeline.plan.certificate import certify
from feedline.pipeline.position import Position, restored, saved, stream
from feedline.pipeline.prefetch import Direct, Prefetcher
from feedline.pipeline.readahead import read_ahead
from feedline.pipeline.resolve import augmentations, engine_spec, eval_crop, input_size, resolve_device
from feedline.pipeline.rest import Rest
from feedline.pipeline.sampler import EpochSampler, ListOrderSampler
from feedline.pipeline.stores import open_store, resolve_store
from feedline.pipeline.streams import Event, SideStream

Batch = tuple[torch.Tensor, torch.Tensor]
_Planned = tuple[PlanBatch, tuple[torch.Tensor, ...]]
_Made = tuple[_Planned, Event]


class Loader:
    """Batches `(images, labels)` of one part of a split, made ahead in the background.

    `images` is [B, 3, height, width] in channels-last memory, normalised (unless uint8); `labels` is int64 [B]; both on
    the device. Train parts come in a fresh order each epoch with the incomplete last batch dropped; val parts come in
    list order, every image once. `len(loader)` is the number of batches, the same every epoch; `batches` counts
    those of all ranks, one more where the last val batch is too short for this rank to have a share of it.
    Options change what a batch is: see `views`, `with_ids`, `targets` and `transform`.

    Each loop over the loader is a new epoch: its first batch starts the epoch that `set_epoch` chose, else the one
    after the last that was started, be it finished or not. One loop runs at a time: a second one ends the first. Where
    `image_size` is a schedule, train batches have the size of their epoch (see `output`); the engine of the size before
    is closed when a loop starts with another.

    `state_dict` says behind which batch the loop stands, whatever was made ahead; `load_state_dict` lets the next loop
    go on there. Loaders can be pickled: they travel as dataset folder, options and state. A loader may be used in a
    process that was forked, except for DALI's engine and GPUs; a loop that was begun before cannot go on there.

    Args:
        dataset: a dataset folder, or its path.
        **options: see `help(feedline.LoaderOptions)`, which describes them all; docs/loader.md has them by task.

    Attributes:
        options: as given, with the split that `auto` stands for.
        folder: the dataset folder.
        dataset: the part, as torchvision's ImageFolder looks: its length, `classes`, `targets`, one image by index.
        images: in the part.
        classes: labels run from 0 to below this.
        plan: which image, window and flip every slot of an epoch has.
        planned: the plan of the batch that the loop was given last; None before the first.
        spec: the settings of the engine, for the size of the last loop (before the first: of epoch 0).

    Raises:
        InputError: if an option cannot be met.
    """

    @takes_options(LoaderOptions)
    def __init__(self, dataset: Source, options: LoaderOptions) -> None:
        self.folder = folder = dataset if isinstance(dataset, Dataset) else Dataset(dataset)
        if options.split == "auto":
            options = dataclasses.replace(options, split=choose_split(folder, options.split))
        self.options = options
        self.split, self.part, self.batch_size = options.split, options.part, options.batch_size
        self.device = resolve_device(options.device)
        self.store_name = resolve_store(options.store, folder, self.device)
        self.engine_name = choose_engine(self.device) if options.engine == "auto" else options.engine
        ids = choose_ids(folder, options)
        targets = choose_targets(folder, options)
        self.images, self.classes = len(ids), options.classes or len(folder.classes)
        self.dataset = Part(folder, ids, self.classes)
        self._store = open_store(self.store_name, folder, self.device)
        self._store.expect(ids)
        self.plan = Plan(
            ids,
            self._store.sizes,
            batch_size=options.batch_size,
            augment=augmentations(options, self._store.size, self.output(0)),
            shuffle=options.part == "train" and options.shuffle is not False,
            blocks=Blocks(options.shuffle_block, options.shuffle_group) if options.shuffle == "blocks" else None,
            weights=choose_weights(folder, ids, options),
            views=options.views,
            seed=options.seed,
            rank=options.rank,
            world_size=options.world_size,
        )
        self._rest = Rest(folder.labels, targets, options.with_ids, self.device)
        self._engine: Engine | None = None
        self._equip(self.output(0))
        self._next = Position()  # where the next loop starts
        self._at: Position | None = None  # where the loop under way stands, or the last one if it was left early
        self._output: Size | None = None
        self._source: Direct[_Made] | Prefetcher[_Made] | None = None
        self._side: SideStream[_Planned] = SideStream(self.device)
        self.planned: PlanBatch | None = None
        self._choices = 0  # calls of set_epoch
        self._given = 0  # the number of that batch in its epoch
        self._stream = stream(options, folder.fingerprint, self.images, self._cut(options.part))
        self._lock, self._process, self._lock_process = threading.RLock(), os.getpid(), os.getpid()

    def __repr__(self) -> str:
        share = "" if self.options.world_size == 1 else f" (rank {self.options.rank} of {self.options.world_size})"
        return (
            f"Loader({str(self.folder.root)!r}: {self.part} of {self.split}, {counted(self.images, 'image')} in "
            f"{counted(len(self), 'batch')} of {self.batch_size}{share}; store {self.store_name}, engine "
            f"{self.engine_name}, {self.device})"
        )

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def batches(self) -> int:
        """Batches in an epoch, over all ranks."""
        return self.plan.batches

    @property
    def sampler(self) -> EpochSampler:
        """Has `set_epoch`, as the sampler of a DataLoader."""
        return EpochSampler(self) if self.plan.shuffle else ListOrderSampler(self)

    @property
    def batch_sampler(self) -> None:
        """None: the loader forms its batches itself; wrappers that look for one find that out."""

    @property
    def drop_last(self) -> bool:
        """Whether an epoch leaves out its incomplete last batch."""
        return self.plan.shuffle

    @property
    def num_workers(self) -> int:
        """Worker threads on the host; there are no worker processes."""
        return self.spec.threads

    @property
    def ahead(self) -> int:
        """The most batches that are made before they are asked for."""
        assert self._engine is not None
        return self._engine.ahead

    @property
    def decoder(self) -> Literal["cpu", "mixed"]:
        """Who decodes image files: `mixed` if a GPU takes part."""
        return self.spec.decode if self.engine_name == "dali" and self.store_name in ("files", "jpeg") else "cpu"

    @property
    def pin_memory(self) -> bool:
        """False: batches are on the device already."""
        return False

    @property
    def certificate(self) -> int:
        """64 bits over what the batch that the loop was given last holds: images, order, windows, flips, augmentations.

        The same from any store, engine and machine; those of all ranks add up, modulo 2^64, to that of one process.

        Raises:
            InputError: if there was no batch yet.
        """
        if self.planned is None:
            raise InputError("`certificate`: no batch was taken yet")
        slots, fingerprint = self.plan.slots(self._given), self.folder.fingerprint
        return certify(self.planned, slots, dataset=fingerprint, size=self.spec.output)

    @property
    def next_epoch(self) -> int:
        """The epoch of the next loop, counted from 0."""
        return self._next.epoch

    def output(self, epoch: int) -> Size:
        """(height, width) in pixels of the batches of an epoch."""
        sizes = self.options.sizes
        if self.part != "train":
            return self.eval_output
        return self._own_size if sizes is None else (sizes.at(epoch), sizes.at(epoch))

    @property
    def eval_output(self) -> Size:
        """(height, width) in pixels of the batches in evaluation."""
        side = self.options.eval_size or self.options.last_size
        return self._own_size if side is None else (side, side)

    @property
    def _own_size(self) -> Size:
        """The size where no option says it."""
        return input_size(self.image_size)

    @property
    def image_size(self) -> Size | None:
        """(height, width) in pixels of all images of the dataset, as the store holds them; None if they vary."""
        return self._store.size

    @property
    def geometry(self) -> dict[str, Any]:
        """What sizes and crops came to: numbers, texts and lists, the same for train and val.

        `images` is `image_size`; `size` and `eval_size` are those of the input in the last epoch and in evaluation;
        `crop` and `eval_crop` say what is cut, as `augment` does.
        """
        train, val = self._cut("train"), self._cut("val")
        return {
            "images": None if self.image_size is None else list(self.image_size),
            "size": train["size"],
            "eval_size": val["size"],
            "crop": train["crop"],
            "eval_crop": val["crop"],
        }

    def _cut(self, part: str) -> dict[str, Any]:
        """The `crop` of the images of a part, and the `size` of the input."""
        if part != "train":
            crop = eval_crop(self.options, self.image_size, self.eval_output)
            return {"crop": as_text(crop), "size": list(self.eval_output)}
        sizes = self.options.sizes
        size = self._own_size if sizes is None else (sizes.last, sizes.last)
        return {"crop": as_text(resolve_training(self.options.augment, self.image_size, size).crop), "size": list(size)}

    def set_epoch(self, epoch: int, first: int | None = None, *, output: Size | None = None) -> None:
        """Chooses the epoch that the next loop runs.

        Args:
            epoch: counted from 0.
            first: the first batch (to resume in mid-epoch). If it is left out the loop runs the whole epoch, or the
                rest of it where `load_state_dict` said so.
            output: (height, width) of that loop's batches in pixels, instead of the epoch's; order, windows and flips
                stay the same.

        Raises:
            InputError: if there is no such epoch or batch.
        """
        if not hasattr(epoch, "__index__") or not 0 <= epoch < 2**32:
            raise InputError(f"`epoch={epoch}`: must be a whole number, at least 0 and below 2^32")
        if first is not None and not (hasattr(first, "__index__") and 0 <= first <= len(self)):
            raise InputError(f"`first={first}`: must be a batch of the epoch, of which there are {len(self)}")
        epoch, first = operator.index(epoch), None if first is None else operator.index(first)
        self._next, self._output, self._choices = self._next.choose(epoch, first), output, self._choices + 1
        if self._source is None:
            self._at = None

    def state_dict(self) -> dict[str, Any]:
        """Where the loop stands: behind the batch that it was given last, whatever was made ahead.

        Between loops it is the start of the next one; after a loop that was left early, the place where it was left.
        Values are numbers, texts, lists and dicts. Train parts give the same on every rank.
        """
        return saved(self._at or self._next, self.batch_size, self._stream)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Lets the next loop go on where the state was taken: it gives the rest of that epoch, and those after it all.

        The number of ranks, store, engine, device and threads may be others. So may the batch size, if the state stands
        between two of its batches. A loop under way ends. A state behind the last batch of an epoch lets the next loop
        end at once; an empty dict changes nothing.

        Raises:
            InputError: if the state does not fit this loader; it stays where it is.
        """
        if state != {}:
            self._next = restored(state, self.batch_size, self.batches, self._stream)
            self._output = self._at = None
            self.end_loop()

    def __iter__(self) -> Iterator[Any]:
        self._in_this_process()
        with self._lock:
            at, source = self._start()
        process, transform, choices = os.getpid(), self.options.transform, self._choices
        ended = False
        try:
            for _ in range(at.batch, len(self)):
                if os.getpid() != process:
                    raise RuntimeError("this loop was begun in another process: begin one here, with iter(loader)")
                if torch.is_inference_mode_enabled():  # its tensors could not be trained on
                    with torch.inference_mode(False):
                        (self.planned, batch), event = source.take()
                else:
                    (self.planned, batch), event = source.take()
                self._side.hand_over(batch, event)
                self._given = at.batch
                result = batch if transform is None else transform(*batch)
                at.batch += 1
                yield result
                del batch, result  # their memory can be reused while the next batch is waited for
            ended = True
        finally:
            if self._at is at and (ended or choices != self._choices):
                self._at = None
            source.close()
            if self._source is source:
                self._source = None

    def _in_this_process(self) -> None:
        """A forked process has its own lock, and no loop: another thread may have held both when it was forked."""
        if self._lock_process != os.getpid():
            self._lock_process, self._lock, self._source = os.getpid(), threading.RLock(), None

    def _start(self) -> "tuple[Position, Direct[_Made] | Prefetcher[_Made]]":
        """Starts a loop: where it stands, and what it takes its batches from."""
        if self._process != os.getpid() and (self.engine_name == "dali" or self.device.type == "cuda"):
            raise InputError(
                f"`engine={self.engine_name}`: this loader was made before the process was forked, and neither DALI "
                "nor a GPU works in the child; make the loader in the child, or start processes with spawn"
            )
        self.end_loop()
        at = self._at = Position(self._next.epoch, self._next.batch)
        output = self._output or self.output(at.epoch)
        self._next, self._output = Position(at.epoch + 1), None
        self._resize(output)
        assert self._engine is not None
        coming = self.folder.while_held(read_ahead(self.plan, self._store, at.epoch, at.batch))
        batches = self._side.made(_finished(self._engine.run(coming), self._rest))
        direct = self._engine.threaded
        source = Direct(batches) if direct else Prefetcher(batches, self.options.prefetch, self.device)
        self._source = source
        return at, source

    def close(self) -> None:
        """Ends the loop under way, if one was left without an end, and all threads. The loader may be used again."""
        self.end_loop()
        if self._engine is not None:
            self._engine.close()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), os.fspath(self.folder.root), vars(self.options), self._next, self._at)

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
        augment = augmentations(self.options, self._store.size, output)
        self.plan.use(augment)
        self.spec = engine_spec(self.options, augment, self._store.size, self.images, self.device)
        self._engine = make_engine(self.engine_name, self._store, self.spec)

    def end_loop(self) -> None:
        """Ends the loop under way, if one was left without an end. The engine is kept."""
        self._in_this_process()
        with self._lock:
            if self._source is not None:
                self._source.close()
                self._source = None


def _finished(batches: EngineBatches, rest: Rest) -> Generator[_Planned, None, None]:
    """The batches of an engine with what belongs to them. It knows no loader, so its thread keeps none alive."""
    try:
        for planned, images in batches:
            shown = images if planned.views == 1 else images.unflatten(0, (planned.views, len(planned)))
            yield planned, (shown, *rest.of(planned))
    finally:
        batches.close()


def _rebuild(kind: type[Loader], root: str, options: dict[str, Any], start: Position, at: Position | None) -> Loader:
    """A loader that was pickled."""
    loader = kind(root, **options)
    loader._next, loader._at = start, at
    return loader
