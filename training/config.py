"""Configuration: one frozen dataclass a concern, checked when built.

Every field is a flag of train.py and a key of a recipe: `label_smoothing` is `--label-smoothing` on the command line
and `label-smoothing` in TOML. A flag overrides the recipe, the recipe overrides the default here.
"""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from feedline.pipeline.augment import translate_old_keys
from feedline.pipeline.options import LoaderOptions, key, require
from feedline.training.best import Measure, measure
from feedline.training.mixing import MixConfig
from feedline.training.views import Views

MOST = 1_000_000  # epochs: more are a slip
GRAPHS = ("reduce-overhead", "max-autotune")  # the ways of compiling that use CUDA graphs


@dataclass(frozen=True)
class ModelConfig:
    """Options of the network. Those with a default value are not passed to it, so that any network can be used."""

    stem: Literal["auto", "small", "standard"] = key(
        "auto",
        "first layers: small is 3x3 without max-pool, standard 7x7 with stride 2 and max-pool; auto: small up to 96 "
        "pixels of the largest training side, else standard",
    )
    zero_init: bool = key(False, "the last norm of each block starts at 0, so the block starts as its shortcut")
    dirac_init: bool = key(False, "the first filters of the convolutions in the blocks start as the identity")
    norm_momentum: float = key(0.1, "share of a new batch in the running statistics of the norms")
    norm_eps: float = key(1e-5, "what the norms add to the variance")
    drop_path: float = key(
        0.0,
        "stochastic depth: chance that an image skips the last block's branch; less in earlier blocks, 0 in the first",
    )
    head_bias: bool = key(True, "the last layer has a bias; --no-head-bias holds it at 0")

    def __post_init__(self) -> None:
        require(0 < self.norm_momentum <= 1, "norm_momentum", self.norm_momentum, "above 0 and at most 1")
        require(0 < self.norm_eps < 1, "norm_eps", self.norm_eps, "between 0 and 1")
        require(0 <= self.drop_path < 1, "drop_path", self.drop_path, "in [0, 1)")

    def changed(self) -> dict[str, Any]:
        """The options that differ from their defaults."""
        values = {field.name: getattr(self, field.name) for field in key_fields(ModelConfig)}
        return {name: value for name, value in values.items() if value != getattr(ModelConfig, name)}


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer, and the learning rate over the run."""

    optimizer: Literal["sgd", "adam", "adamw", "muon"] = key(
        "sgd", "sgd has Nesterov momentum; muon trains filters of convolutions as matrices, and the rest by sgd"
    )
    max_lr: float | Literal["auto"] = key(
        0.1, "peak of the learning rate; auto: what the last LR range test recommends"
    )
    momentum: float = key(0.9, "momentum of sgd (also in muon), first beta of adam and adamw")
    muon_sgd_ratio: float = key(
        1.0, "muon: learning rate of what sgd trains (first convolution, norms, last layer) / that of the filters"
    )
    muon_momentum: float = key(0.6, "muon: momentum of the filters")
    muon_steps: int = key(3, "muon: Newton-Schulz iterations per step")
    muon_renorm: bool = key(
        True, "muon: keep each filter bank at a norm of sqrt(outputs), without weight decay; needs a norm behind it"
    )
    weight_decay: float = key(5e-4, "weight decay, except on norms and biases")
    class_weights: Literal["none", "balanced"] = key(
        "none",
        "balanced: an image counts in the training loss by 1 / the images of its class, so that small classes count as "
        "much as large ones, and the best epoch is that of the best balanced accuracy",
    )
    label_smoothing: float = key(0.0, "share of the target that is spread over all classes")
    accumulate: int = key(
        1,
        "parts in which a step takes its batch, one after the other: for batches too large for the memory. The step is "
        "that of the whole batch, but norms see one part at a time",
    )
    clip_grad: float = key(0.0, "largest norm of the gradient; 0 for no limit")
    ema: float = key(0.0, "evaluate an exponential moving average of the weights, with this decay; 0 for none")
    epochs: int = key(50, "passes over the training images")
    schedule: Literal["onecycle", "trapezoid"] = key(
        "onecycle",
        "onecycle rises and falls; trapezoid rises, stays at the peak and falls linearly to 0: until it falls, a "
        "run can be resumed with other --epochs",
    )
    pct_start: float = key(0.3, "share of the run in which the learning rate rises")
    peak_epoch: float | None = key(None, "the epoch of the peak; overrides --pct-start")
    div_factor: float = key(25.0, "peak / start of the learning rate")
    final_div_factor: float = key(1e4, "onecycle: start / end of the learning rate; 1 for no annihilation, inf for 0")
    cooldown: float = key(0.2, "trapezoid: share of the run in which the learning rate falls; 0 for no fall")
    anneal: Literal["cos", "linear"] = key("cos", "onecycle: shape of the rise and fall")
    cycle_momentum: bool = key(False, "onecycle: momentum falls to 0.85 at the peak and rises to 0.95 again")

    def __post_init__(self) -> None:
        require(self.max_lr == "auto" or 0 < self.max_lr < math.inf, "max_lr", self.max_lr, "auto or above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "in [0, 1)")
        require(0 < self.muon_sgd_ratio < math.inf, "muon_sgd_ratio", self.muon_sgd_ratio, "above 0")
        require(0 <= self.muon_momentum < 1, "muon_momentum", self.muon_momentum, "in [0, 1)")
        require(1 <= self.muon_steps <= 20, "muon_steps", self.muon_steps, "in 1..20")
        require(0 <= self.weight_decay <= 1, "weight_decay", self.weight_decay, "in 0..1")
        require(0 <= self.label_smoothing < 1, "label_smoothing", self.label_smoothing, "in [0, 1)")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")
        require(self.clip_grad >= 0, "clip_grad", self.clip_grad, "at least 0")
        require(0 <= self.ema < 1, "ema", self.ema, "in [0, 1)")
        require(1 <= self.epochs < MOST, "epochs", self.epochs, f"at least 1 and below {MOST:,}")
        require(0 < self.pct_start < 1, "pct_start", self.pct_start, "between 0 and 1")
        wanted = f"above 0 and below the {self.epochs} epochs"
        require(self.peak_epoch is None or 0 < self.peak_epoch < self.epochs, "peak_epoch", self.peak_epoch, wanted)
        require(self.div_factor >= 1, "div_factor", self.div_factor, "at least 1")
        require(self.final_div_factor > 0, "final_div_factor", self.final_div_factor, "above 0")
        if self.schedule == "trapezoid":
            wanted = f"at least 0 and at most 1 - {self.warmup:g}, the share of the rise"
            fits = self.cooldown >= 0 and self.warmup + self.cooldown <= 1 + 1e-9  # 0.8 + 0.2 is a little more than 1
            require(fits, "cooldown", self.cooldown, wanted)
            require(not self.cycle_momentum, "cycle_momentum", self.cycle_momentum, "off with a trapezoid")

    @property
    def best_by(self) -> Measure:
        """By what the best epoch is chosen."""
        return measure(self.class_weights)

    @property
    def warmup(self) -> float:
        """Share of the run in which the learning rate rises."""
        return self.pct_start if self.peak_epoch is None else self.peak_epoch / self.epochs


@dataclass(frozen=True)
class RunConfig:
    """Device, precision, evaluation, logging and checkpoints."""

    data: str = key("data/tiny-imagenet", "the dataset folder that convert/build.py wrote")
    init: str | None = key(
        None,
        "train, lrfind: start from the weights of a run (its folder, or a checkpoint), or of a torchvision or timm "
        "resnet18 (.pt, .pth); with other classes all but the last layer",
    )
    device: Literal["auto", "cpu", "cuda"] = key("auto", "auto: cuda if there is a GPU")
    amp: bool = key(False, "mixed precision: bf16 on CPUs and on GPUs that have it, else fp16 with a gradient scaler")
    amp_dtype: Literal["auto", "bf16", "fp16"] = key("auto", "overrides the dtype that --amp chooses")
    channels_last: bool = key(True, "keep weights and activations in NHWC memory")
    compile: bool | None = key(
        None,
        "torch.compile the network (default: on a GPU in runs of 5,000 steps or more, on average over the sizes of the "
        "images, if there is a C compiler; not in lrfind; on a CPU it is slower than the kernels that it replaces)",
    )
    compile_mode: Literal["auto", "default", "reduce-overhead", "max-autotune"] = key(
        "auto",
        "how to compile; reduce-overhead and max-autotune use CUDA graphs, and imply --compile (auto: reduce-overhead "
        "on one GPU, default elsewhere); with default Muon's step is no CUDA graph either",
    )
    torch_threads: int | None = key(
        None, "threads in which torch computes on the CPU (default: torch's choice, at most one per core)"
    )
    tta: bool = key(False, "evaluate the mean of the logits of several views of each image, see --tta-views")
    tta_views: Views = key(
        "flip", "for --tta: flip is the image and its mirror image; crops shifts both by a pixel too: six views"
    )
    eval_every: int = key(1, "evaluate after every N-th epoch, and always after the last; 0: only after the last")
    patience: int = key(
        0, "end the run after N evaluations in a row that are not the best so far; 0: never before its last epoch"
    )
    norm_images: int = key(
        0,
        "before each evaluation take the batch norms' means and variances again, from N augmented train images at the "
        "size of evaluation; 0: keep those of training",
    )
    target: float | None = key(None, "val top-1 in percent; the summary says when it was reached")
    seed: int = key(0, "of weights, order, windows and flips")
    log_every: int = key(20, "steps between log lines; training waits for the device only there")
    tensorboard: bool = key(False, "write scalars and images for TensorBoard to RUN/tensorboard")
    logger: Sequence[str] = key(
        (), "loggers of your own or for other services, as module:Class, comma-separated; see docs/reports.md"
    )
    certify: Literal["stream", "pixels"] = key(
        "stream",
        "what log.jsonl has a hash of for each step, for feedline compare: stream is the images and all that is done "
        "to them; pixels also the batches as they came out, with their labels",
    )
    save_every: int | str = key(0, "checkpoints in mid-epoch: every N steps, or minutes as 10m; 0 for none")
    sync_bn: bool = key(True, "with several ranks: batch norm over the batches of all, as one process would do it")

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**63, "seed", self.seed, "in 0..2^63-1")
        ok = self.torch_threads is None or 1 <= self.torch_threads <= 1024
        require(ok, "torch_threads", self.torch_threads, "at least 1 and at most 1024")
        require(self.target is None or 0 < self.target <= 100, "target", self.target, "above 0 and at most 100")
        require(0 <= self.eval_every < MOST, "eval_every", self.eval_every, f"at least 0 and below {MOST:,}")
        require(0 <= self.patience < MOST, "patience", self.patience, f"at least 0 and below {MOST:,}")
        require(0 <= self.norm_images < 2**31, "norm_images", self.norm_images, "at least 0 and below 2^31")
        require(1 <= self.log_every < 2**31, "log_every", self.log_every, "at least 1 and below 2^31")
        for name in self.logger:
            require(bool(re.fullmatch(r"[\w.]+:\w+", name)), "logger", name, "module:Class")
        ok = self.save_every >= 0 if isinstance(self.save_every, int) else self.save_minutes > 0
        require(ok, "save_every", self.save_every, "a number of steps, or of minutes as 10m or 0.5m")

    @property
    def compiled(self) -> bool | None:
        """Whether to compile, where that was asked for: by `compile`, or by a mode that uses CUDA graphs."""
        return True if self.compile is None and self.compile_mode in GRAPHS else self.compile

    @property
    def views(self) -> Views | None:
        """The views that an evaluation averages; None for the image alone."""
        return self.tta_views if self.tta else None

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
    loader: LoaderOptions
    model: ModelConfig
    optim: OptimConfig
    mix: MixConfig
    run: RunConfig

    def __post_init__(self) -> None:
        shuffle, sizes, epochs = self.loader.shuffle, self.loader.sizes, self.optim.epochs
        require(shuffle is not False, "shuffle", shuffle, "full or blocks where a network is trained")
        ok = self.loader.classes is None or self.loader.classes >= 2
        require(ok, "classes", self.loader.classes, "at least 2 where a network is trained")
        ok = sizes is None or sizes.starts[-1][0] < epochs
        require(ok, "image_size", self.loader.image_size, f"sides for epochs below the run's {epochs}")

    @classmethod
    def build(cls, recipe: str, values: Mapping[str, Any]) -> "Config":
        """Sorts flat values into sections. The keys that `augment` replaced change its default.

        Raises:
            InputError: if a value is out of range, or does not fit another.
        """
        values = translate_old_keys(values, LoaderOptions().augment)
        sections = {}
        for name, section in SECTIONS.items():
            names = {f.name for f in key_fields(section)}
            sections[name] = section(**{k: v for k, v in values.items() if k in names})
        return cls(recipe, **sections)

    def evaluates(self, epoch: int) -> bool:
        """Whether the run evaluates after an epoch, counted from 1."""
        every = self.run.eval_every
        return epoch == self.optim.epochs or (every > 0 and epoch % every == 0)

    def batch_unit(self, ranks: int) -> int:
        """What a batch must be a multiple of: ranks and parts share it, and mixing pairs the images of each."""
        return ranks * self.optim.accumulate * (2 if self.mix.mixup or self.mix.cutmix else 1)

    def flat(self) -> dict[str, Any]:
        """All keys and values in one dict, as `build` takes them."""
        return {f.name: getattr(getattr(self, name), f.name) for name in SECTIONS for f in key_fields(SECTIONS[name])}

    def replace(self, **values: Any) -> "Config":
        """A copy with other values; the keys that `augment` replaced change it. Raises InputError as `build`."""
        return Config.build(self.recipe, {**self.flat(), **translate_old_keys(values, self.loader.augment)})


SECTIONS: dict[str, Any] = {
    "loader": LoaderOptions, "model": ModelConfig, "optim": OptimConfig, "mix": MixConfig, "run": RunConfig
}  # fmt: skip


def key_fields(section: Any) -> "list[dataclasses.Field[Any]]":
    """The fields of a section that are keys; the trainer sets the other options of a loader itself."""
    return [field for field in dataclasses.fields(section) if "help" in field.metadata]
