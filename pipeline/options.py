"""The options of a loader: their names, defaults, help and checks. Flags and recipe keys are generated from them."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeAlias

import torch

from feedline.pipeline.arrays import ArrayOption, as_ids, as_targets, as_weights, named_columns
from feedline.pipeline.augment import canonical
from feedline.pipeline.augment.old_keys import OLD_KEYS
from feedline.pipeline.dataset import Dataset, PartName
from feedline.pipeline.engines.types import EngineName
from feedline.pipeline.errors import InputError, did_you_mean, shown
from feedline.pipeline.image_sizes import LARGEST, SMALLEST, ImageSizes
from feedline.pipeline.kinds import checked
from feedline.pipeline.stores import StoreName

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
DTYPES = (torch.float32, torch.float16, torch.uint8)

P = ParamSpec("P")
Source: TypeAlias = Dataset | str | Path  # an open dataset folder, or where one is


def key(default: Any, help: str) -> Any:
    """An option that is also a flag of train.py and a key of recipes."""
    return dataclasses.field(default=default, metadata={"help": help})


def array() -> Any:
    """An option for Python only: an array, a tensor or a list, None if there is none."""
    return dataclasses.field(default=None, compare=False)


ARRAYS: dict[str, Callable[[str, Any], Any]] = {"subset": as_ids, "weights": as_weights, "targets": as_targets}
# What arguments of torch's DataLoader are called here, or why they are not needed.
OF_DATALOADER = {
    "num_workers": "say `threads`: the loader works in threads, which need no processes",
    "pin_memory": "leave it out: batches arrive on `device`",
    "drop_last": "leave it out: train drops the incomplete last batch, val does not",
    "sampler": "say `subset`, `weights` or `shuffle`",
    "batch_sampler": "say `subset`, `weights` or `shuffle`",
    "transforms": "say `augment`; normalising is done, with `mean` and `std`",
    "normalize": "leave it out: images are normalised with `mean` and `std`, or not at all with dtype=torch.uint8",
    "train": "say `part`: train, val or test",
    "target_transform": "say `targets`: one row for each image id",
    "collate_fn": "say `transform`, which gets the finished batch",
    "prefetch_factor": "say `prefetch`: batches made ahead",
    "persistent_workers": "leave it out: threads are kept between epochs",
    "generator": "say `seed`: order, windows and flips are a function of it",
    "worker_init_fn": "leave it out: there are no worker processes",
    "multiprocessing_context": "leave it out: there are no worker processes",
    "timeout": "leave it out: there are no worker processes",
}


@dataclass(frozen=True, kw_only=True)
class LoaderOptions:
    """The options of a loader.

    Attributes:
        split: e.g. `official` (the source's own) or `70-30`; `auto` is `official` where there is one, else the first of
            `Dataset.splits`, which is mostly the only one.
        part: `train` (augmented, shuffled), `val`, or `test` where the source has one.
        classes: only the first N classes (all if None).
        fraction: only this share of the images of each class, for quick tries: the same images in every run.
        subset: only these images of the part, by id; val keeps their order, and may be images of train too, for folds.
        weights: for train: how likely each image is, one number for each image id of the dataset: an epoch draws as
            many images as the part has, with replacement. `balanced` makes all classes equally likely.
        targets: what the loader gives as labels: one row for each image id of the dataset, of any shape; or the name
            of a column of the source's table (`loader.folder.columns`), or names for rows [columns]. Floating point
            comes as float32 (float64 if that is torch's default), whole numbers as int64, booleans as they are.
        with_ids: batches are `(images, labels, ids)`; ids are int64 [B].
        views: for train: windows of each image, decoded once; with more than one `images` are [views, B, 3, height,
            width].
        transform: called in the loop with the finished batch, as `transform(images, labels)`, or with the ids behind
            them; what it returns is the batch. Its random choices are not the plan's.
        batch_size: images in a batch, over all ranks.
        store: `files`, `jpeg`, `raw`, `resident`, or `auto` (see `choose_store`).
        engine: `dali`, `torch`, or `auto` (DALI on a GPU, torch on a CPU).
        device: where batches go: `cpu`, `cuda` (or `cuda:1`), or `auto` (`cuda` where there is a GPU).
        decode: where DALI decodes image files on a machine with a GPU. `cpu`: to the pixels of a machine without one.
            `mixed`: the GPU takes part, and rounds differently. `auto`: `cpu` for images of one size whose shorter side
            has up to 128 pixels, else `mixed`.
        threads: worker threads on the host (one per core that this process may use if None).
        prefetch: batches made ahead.
        image_size: side of the square output in pixels; or for train sides by epoch, as `24@0,32@4`, of which val takes
            the last. If None, the shorter side of images of one size, up to 128 pixels; 224 where it is longer, or
            sizes vary.
        eval_size: for val: side of the square output in pixels, instead of `image_size`.
        augment: for train: names of augmentations with their arguments, as `("pad-crop:4", "flip")`; see
            `feedline.pipeline.augment`.
        crop_fraction: for val: side of the centre window / the largest that fits (1 where all images are squares of one
            size, else 0.875, if None).
        shuffle: for train: `full` or True; `blocks` (for storage where random reads are slow: blocks of neighbours in
            random order, images mixed within groups of blocks); or False (list order, every image once, the last batch
            short). Val is in list order, always.
        shuffle_block: neighbours in a block, for `blocks`.
        shuffle_group: blocks in a group, for `blocks`.
        mean, std: per channel RGB, in 0..1 (ImageNet's by default).
        dtype: of the images: float32 or float16; or uint8 for pixels that are not normalised.
        seed: of order, windows and flips.
        rank, world_size: this process's share of each batch.

    Raises:
        InputError: if a value cannot be used.
    """

    split: str = key(
        "auto", "the split, as official or 70-30; auto: official (the source's own), or else the first that there is"
    )
    part: PartName = "train"
    classes: int | None = key(None, "use only the first N classes, for quick tries")
    fraction: float = key(1.0, "use only this share of the images of each class, for quick tries")
    subset: ArrayOption | None = array()
    weights: ArrayOption | Literal["balanced"] | None = array()
    targets: ArrayOption | str | Sequence[str] | None = array()
    with_ids: bool = False
    views: int = 1
    transform: Callable[..., Any] | None = dataclasses.field(default=None, compare=False)
    store: Literal["auto"] | StoreName = key("auto", "where images are read from")
    engine: Literal["auto"] | EngineName = key("auto", "what makes the batches")
    device: str | torch.device = "cpu"
    decode: Literal["auto", "cpu", "mixed"] = key(
        "auto",
        "where DALI decodes on a GPU machine: cpu, to the pixels of any CPU, or mixed (the GPU takes part); auto: cpu "
        "for images of one size with a shorter side up to 128 pixels, else mixed",
    )
    threads: int | None = key(None, "worker threads of the loader (default: one per core)")
    prefetch: int = 3
    batch_size: int = key(256, "images in a batch")
    image_size: int | str | None = key(
        None,
        "side of the input in pixels, or sides by epoch, counted from 0, as 24@0,32@4, of which lrfind and bench take "
        "the last (default: the shorter side of images of one size up to 128 pixels, else 224)",
    )
    eval_size: int | None = key(None, "evaluation: side of the input in pixels (default: the last of training)")
    augment: Sequence[str] = key(
        ("auto-crop", "flip"),
        "augmentations of train images, comma-separated. A crop: pad-crop:4, "
        "random-resized-crop:scale=0.08-1:ratio=0.75-1.33, center:1, or auto-crop (pad-crop where images are "
        "squares of one size, else random-resized-crop). Mirrored: flip, or alternating-flip (in every second epoch). "
        "More: trivial-augment, rand-augment:n=2:m=9, color-jitter:brightness=0.4:contrast=0.4:saturation=0.4:hue=0, "
        "erasing:p=0.25:scale=0.02-0.33 (a box is set to the mean)",
    )
    crop_fraction: float | None = key(
        None, "evaluation: side of the centre / the largest that fits (default: 1 for squares of one size, else 0.875)"
    )
    shuffle: Literal["full", "blocks"] | bool = key(
        "full", "blocks mixes neighbours less and reads slow storage in long runs"
    )
    shuffle_block: int = key(256, "neighbours in a block, for --shuffle blocks")
    shuffle_group: int = key(64, "blocks mixed with each other, for --shuffle blocks")
    mean: Sequence[float] = key(IMAGENET_MEAN, "R,G,B subtracted, in 0..1")
    std: Sequence[float] = key(IMAGENET_STD, "R,G,B divided by, in 0..1")
    dtype: torch.dtype = torch.float32
    seed: int = 0
    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if self.shuffle is True:
            require(self.part == "train", "shuffle", True, f"left out for {self.part}, which is in list order")
            self._set("shuffle", "full")
        for name, hint in typing.get_type_hints(LoaderOptions).items():
            if name not in (*ARRAYS, "transform"):
                self._set(name, checked(name, hint, getattr(self, name)))  # before anybody sees it
        for name, convert in ARRAYS.items():
            value = getattr(self, name)
            if value is None or (name == "weights" and isinstance(value, str)):
                continue
            if not (name == "targets" and named_columns(value)):
                self._set(name, convert(name, value))
        self._check_data()
        for name in ("batch_size", "shuffle_block", "shuffle_group", "prefetch", "world_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
            require(getattr(self, name) < 2**31, name, getattr(self, name), "below 2^31")
        ok = self.threads is None or 1 <= self.threads <= 1024
        require(ok, "threads", self.threads, "at least 1 and at most 1024")
        require(
            self.eval_size is None or SMALLEST <= self.eval_size <= LARGEST,
            "eval_size",
            self.eval_size,
            f"at least {SMALLEST} and at most {LARGEST}",
        )
        ok = self.crop_fraction is None or 0 < self.crop_fraction <= 1
        require(ok, "crop_fraction", self.crop_fraction, "above 0 and at most 1")
        ok = len(self.mean) == 3 and all(0 <= v <= 1 for v in self.mean)
        require(ok, "mean", self.mean, "three numbers in 0..1 (of 0..255, divide by 255)")
        ok = len(self.std) == 3 and all(1e-6 <= v <= 1 for v in self.std)
        require(ok, "std", self.std, "three positive numbers up to 1 (of 0..255, divide by 255)")
        require(self.dtype in DTYPES, "dtype", self.dtype, "torch.float32, torch.float16 or torch.uint8")
        require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2^63-1")
        require(0 <= self.rank < self.world_size, "rank", self.rank, f"below `world_size={self.world_size}`")
        self._set("augment", canonical(self.augment))
        self._set("image_size", None if self.sizes is None else self.sizes.value)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_data(self) -> None:
        """Raises InputError if what chooses images and targets cannot be used."""
        require(0 < self.fraction <= 1, "fraction", self.fraction, "above 0 and at most 1")
        if isinstance(self.weights, str):
            require(self.weights == "balanced", "weights", self.weights, "`balanced`, or a number for each image")
        if self.weights is not None:
            require(self.part == "train", "part", self.part, "train with `weights`")
            require(self.shuffle == "full", "shuffle", self.shuffle, "full with `weights`")
        require(1 <= self.views <= 64, "views", self.views, "at least 1 and at most 64")
        require(
            self.views == 1 or self.part == "train", "views", self.views, "1 for val, whose windows are all the same"
        )
        ok = self.transform is None or callable(self.transform)
        require(ok, "transform", self.transform, "a function of images and labels")
        if self.transform is not None and not _takes(self.transform, 2 + self.with_ids):
            arguments = "images, labels and ids" if self.with_ids else "images and labels"
            raise InputError(
                f"`transform`: is called with the {arguments} of a batch, which this function does not take; crops, "
                "flips and colours are `augment`, normalising is done"
            )

    @property
    def sizes(self) -> ImageSizes | None:
        """`image_size`, parsed; None if the images decide."""
        return None if self.image_size is None else ImageSizes.parse(self.image_size)

    @property
    def last_size(self) -> int | None:
        """The side at the end of a run; None if the images decide."""
        return None if self.sizes is None else self.sizes.last


def _takes(function: Callable[..., Any], arguments: int) -> bool:
    """Whether a function can be called with so many arguments, as far as can be known."""
    try:
        inspect.signature(function).bind(*range(arguments))
    except TypeError:
        return False
    except ValueError:  # some built-in functions do not say
        return True
    return True


def require(ok: bool, name: str, value: object, wanted: str) -> None:
    """Raises InputError if an option's value is not what is wanted."""
    if not ok:
        raise InputError(f"`{name}={shown(value)}`: must be {wanted}")


def takes_options(
    options: Callable[P, LoaderOptions],
) -> Callable[[Callable[[Any, Source, LoaderOptions], None]], Callable[Concatenate[Any, Source, P], None]]:
    """Turns `method(self, dataset, options)` into `method(self, dataset, *, split=..., batch_size=..., ...)`."""

    def decorate(
        method: Callable[[Any, Source, LoaderOptions], None],
    ) -> Callable[Concatenate[Any, Source, P], None]:
        @functools.wraps(method)
        def with_keywords(self: Any, dataset: Source, *args: P.args, **kwargs: P.kwargs) -> None:
            if args:
                raise TypeError("a loader takes one argument by position, the dataset; options are keywords")
            _refuse_unknown(kwargs)
            method(self, dataset, options(*args, **kwargs))

        keywords = inspect.signature(LoaderOptions).parameters.values()
        positional = list(inspect.signature(method).parameters.values())[:2]
        with_keywords.__signature__ = inspect.Signature([*positional, *keywords])  # type: ignore[attr-defined]
        return with_keywords

    return decorate


def _refuse_unknown(names: Any) -> None:
    known = [field.name for field in dataclasses.fields(LoaderOptions)]
    for name in names:
        if name in OLD_KEYS:
            raise InputError(f"`{name}`: say `augment` instead, as augment=['pad-crop:4', 'flip']")
        if name in OF_DATALOADER:
            raise InputError(f"{name}: {OF_DATALOADER[name]}")
        if name not in known:
            raise InputError(f"{name}: no such option{did_you_mean(name, known)}")
