"""Configuration: one frozen dataclass a concern, checked when built.

Every field is a flag of train.py and a key of a recipe: `label_smoothing` is `--label-smoothing` on the command line
and `label-smoothing` in TOML. A flag overrides the recipe, the recipe overrides the default here.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import IMAGENET_MEAN, IMAGENET_STD


def _key(default: Any, help: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help})


def _require(ok: bool, field: str, value: object, wanted: str) -> None:
    if not ok:
        raise InputError(f"`{field}={value}`: must be {wanted}")


@dataclass(frozen=True)
class DataConfig:
    """What is fed, and how."""

    data: str = _key("data/tiny-imagenet", "the dataset folder that convert/build.py wrote")
    split: str = _key("70-30", "the split: 70-30 or official")
    classes: int | None = _key(None, "only the first so many classes, for quick tries")
    store: Literal["auto", "files", "jpeg", "raw", "resident"] = _key("auto", "what hands out the images")
    engine: Literal["auto", "dali", "torch"] = _key("auto", "what makes batches of them")
    decode: Literal["cpu", "mixed"] = _key("mixed", "where DALI decodes JPEGs on a GPU machine")
    threads: int | None = _key(None, "worker threads of the loader (default: one a core)")
    batch_size: int = _key(256, "images in a batch")
    image_size: int | None = _key(None, "side of the input in pixels (default: the images' own)")
    shuffle: Literal["full", "blocks"] = _key(
        "full", "blocks mixes neighbours less and reads slow storage in long runs"
    )
    shuffle_block: int = _key(256, "neighbours in a block, for --shuffle blocks")
    shuffle_group: int = _key(64, "blocks mixed with each other, for --shuffle blocks")
    crop: Literal["auto", "pad", "random-resized", "center"] = _key("auto", "augmentation by crop")
    padding: int = _key(4, "pixels, for --crop pad")
    flip: bool = _key(True, "augmentation by mirroring")
    mean: tuple[float, ...] = _key(IMAGENET_MEAN, "R,G,B subtracted, in 0..1")
    std: tuple[float, ...] = _key(IMAGENET_STD, "R,G,B divided by, in 0..1")

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        _require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")
        _require(self.image_size is None or self.image_size >= 8, "image_size", self.image_size, "at least 8")
        _require(self.shuffle_block >= 1, "shuffle_block", self.shuffle_block, "at least 1")
        _require(self.shuffle_group >= 1, "shuffle_group", self.shuffle_group, "at least 1")
        _require(self.padding >= 0, "padding", self.padding, "at least 0")
        _require(len(self.mean) == 3, "mean", self.mean, "three numbers")
        _require(len(self.std) == 3 and all(v > 0 for v in self.std), "std", self.std, "three positive numbers")


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, and the learning rate over the run."""

    optimizer: Literal["sgd", "adam", "adamw"] = _key("sgd", "sgd has Nesterov momentum")
    max_lr: float | Literal["auto"] = _key(
        0.1, "peak of the learning rate; auto: what the last LR range test recommends"
    )
    momentum: float = _key(0.9, "of sgd; for adam and adamw the first beta")
    weight_decay: float = _key(5e-4, "not on norms and biases")
    label_smoothing: float = _key(0.0, "share of the target that is spread over all classes")
    clip_grad: float = _key(0.0, "largest norm of the gradient; 0 for no limit")
    ema: float = _key(0.0, "evaluate an exponential moving average of the weights, with this decay a step; 0 for none")
    epochs: int = _key(50, "passes over the training images")
    pct_start: float = _key(0.3, "share of the run in which the learning rate rises")
    peak_epoch: float | None = _key(None, "the epoch of the peak; overrides --pct-start")
    div_factor: float = _key(25.0, "peak / start of the learning rate")
    final_div_factor: float = _key(1e4, "start / end of the learning rate; 1 for no annihilation")
    anneal: Literal["cos", "linear"] = _key("cos", "shape of the rise and fall")
    cycle_momentum: bool = _key(False, "momentum falls to 0.85 at the peak and rises to 0.95 again")

    def __post_init__(self) -> None:
        _require(self.max_lr == "auto" or self.max_lr > 0, "max_lr", self.max_lr, "auto or above 0")
        _require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        _require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "at least 0")
        _require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        _require(self.clip_grad >= 0, "clip_grad", self.clip_grad, "at least 0")
        _require(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(0 < self.pct_start < 1, "pct_start", self.pct_start, "between 0 and 1")
        wanted = f"above 0 and below the {self.epochs} epochs"
        _require(self.peak_epoch is None or 0 < self.peak_epoch < self.epochs, "peak_epoch", self.peak_epoch, wanted)
        _require(self.div_factor >= 1, "div_factor", self.div_factor, "at least 1")
        _require(self.final_div_factor > 0, "final_div_factor", self.final_div_factor, "above 0")


@dataclass(frozen=True)
class RunConfig:
    """Device, precision, evaluation, logging and checkpoints."""

    device: Literal["auto", "cpu", "cuda"] = _key("auto", "auto: cuda if there is a GPU")
    amp: bool = _key(False, "mixed precision: bf16 where the hardware has it, else fp16 with a gradient scaler")
    amp_dtype: Literal["auto", "bf16", "fp16"] = _key("auto", "overrides the dtype that --amp chooses")
    channels_last: bool = _key(True, "keep weights and activations in NHWC memory")
    compile: bool = _key(False, "torch.compile the network")
    compile_mode: Literal["default", "reduce-overhead", "max-autotune"] = _key(
        "default", "for --compile; reduce-overhead and max-autotune use CUDA graphs"
    )
    tta: bool = _key(False, "evaluate the mean of the logits of each image and its mirror image")
    target: float | None = _key(None, "val top-1 in percent; the summary says when it was reached")
    seed: int = _key(0, "of weights, order, windows and flips")
    log_every: int = _key(20, "steps between log lines; training waits for the device only there")
    save_every: int | str = _key(0, "checkpoints in mid-epoch: every N steps, or minutes as 10m; 0 for none")
    sync_bn: bool = _key(True, "with several ranks: batch norm over the batches of all, as one process would do it")

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2^63-1")
        _require(self.target is None or 0 < self.target <= 100, "target", self.target, "above 0 and at most 100")
        _require(self.log_every >= 1, "log_every", self.log_every, "at least 1")
        ok = self.save_every >= 0 if isinstance(self.save_every, int) else self.save_minutes > 0
        _require(ok, "save_every", self.save_every, "a number of steps, or of minutes as 10m or 0.5m")

    @property
    def save_steps(self) -> int:
        """Steps between checkpoints in mid-epoch; 0 for none."""
        return self.save_every if isinstance(self.save_every, int) else 0

    @property
    def save_minutes(self) -> float:
        """Minutes between checkpoints in mid-epoch; 0 for none."""
        if isinstance(self.save_every, int):
            return 0.0
        number = re.fullmatch(r"(\d+\.?\d*|\.\d+)m", self.save_every)
        return float(number[1]) if number else 0.0


@dataclass(frozen=True)
class Config:
    """All sections. `recipe` is the name of the recipe that the configuration started from."""

    recipe: str
    data: DataConfig
    optim: OptimConfig
    run: RunConfig

    @classmethod
    def build(cls, recipe: str, values: Mapping[str, Any]) -> "Config":
        """Sorts flat values into sections.

        Raises:
            InputError: if a value is out of range.
        """
        sections = {}
        for name, section in SECTIONS.items():
            names = {f.name for f in dataclasses.fields(section)}
            sections[name] = section(**{k: v for k, v in values.items() if k in names})
        return cls(recipe, **sections)

    def flat(self) -> dict[str, Any]:
        """All keys and values in one dict, as `build` takes them."""
        return {k: v for name in SECTIONS for k, v in dataclasses.asdict(getattr(self, name)).items()}

    def replace(self, **values: Any) -> "Config":
        """A copy with other values. Raises InputError as `build`."""
        return Config.build(self.recipe, {**self.flat(), **values})


SECTIONS: dict[str, Any] = {"data": DataConfig, "optim": OptimConfig, "run": RunConfig}
