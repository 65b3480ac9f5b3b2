"""Which flags a mode uses."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch

from feedline.cli.flags import given_values
from feedline.pipeline.augment.augmentations import AutoCrop, parse
from feedline.pipeline.augment.old_keys import OLD_KEYS
from feedline.pipeline.augment.pad_crop import PadCrop
from feedline.pipeline.errors import InputError
from feedline.training.config import Config
from feedline.training.keys import keys

ALL = ("lrfind", "train", "eval", "bench", "peek", "summary")
NOT_SUMMARY = ("lrfind", "train", "eval", "bench", "peek")
STEPS = ("lrfind", "train", "bench", "peek")
# lrfind takes what training does: it puts the flags into the command that it prints. So does peek: it shows what a
# training with these flags would see.
TRAINING = ("lrfind", "train", "peek")
EVALUATION = ("lrfind", "train", "eval", "peek")

OPTIONS: dict[str, tuple[str, ...]] = {
    "recipe": ("lrfind", "train", "bench", "peek", "summary"),
    "out": (*NOT_SUMMARY, "predict", "export", "compare"),
    "resume": ("train", "peek"),
    "step": ("peek",),
    "checkpoint": ("eval", "predict", "export"),
    "part": ("eval",),
    "start_lr": ("lrfind",),
    "end_lr": ("lrfind",),
    "rounds": ("bench",),
    "seconds": ("bench",),
    "top": ("predict",),
    "format": ("predict",),
    "to": ("export",),
    "probes": ("export",),
    "quiet": (*NOT_SUMMARY, "predict", "export"),
    "json": ("lrfind", "train", "eval", "bench", "predict", "export"),
}
SECTIONS = {"loader": NOT_SUMMARY, "model": ALL, "optim": STEPS, "mix": TRAINING, "run": NOT_SUMMARY}
EXCEPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("data", "classes", "image_size"), ALL),
    **dict.fromkeys(("eval_size", "crop_fraction", "tta", "tta_views", "norm_images"), EVALUATION),
    **dict.fromkeys(("compile", "compile_mode", "sync_bn", *("zero_init", "dirac_init", "norm_momentum")), STEPS),
    **dict.fromkeys(("drop_path", "augment", *OLD_KEYS, "shuffle", "shuffle_block", "shuffle_group"), STEPS),
    **dict.fromkeys(("init", "class_weights"), TRAINING),
    **dict.fromkeys(("epochs", "schedule", "pct_start", "peak_epoch", "div_factor", "final_div_factor"), TRAINING),
    **dict.fromkeys(("cooldown", "anneal", "cycle_momentum", "ema"), TRAINING),
    **dict.fromkeys(
        ("eval_every", "patience", "target", "log_every", "tensorboard", "logger", "certify", "save_every"), TRAINING
    ),
}
# Modes that use a trained network take few of the flags.
TTA = ("tta", "tta_views")
_OF_THE_RUN = ("data", "eval_size", "crop_fraction", "torch_threads")
USING: dict[str, tuple[str, ...]] = {
    "predict": (*_OF_THE_RUN, "batch_size", "threads", "device", "amp", "amp_dtype", "channels_last", *TTA),
    "export": _OF_THE_RUN,
}


def uses() -> dict[str, tuple[str, ...]]:
    """The modes that use each flag, by the name of the option or key."""
    of_keys = {field.name: SECTIONS[section] for section, _, field in keys()}
    known = {**OPTIONS, **of_keys, **dict.fromkeys(OLD_KEYS, SECTIONS["loader"]), **EXCEPTIONS}
    for mode, names in USING.items():
        known |= {name: (*known[name], mode) for name in names}
    return known


def check_mode(mode: str, given: Iterable[str]) -> None:
    """Refuses flags that a mode does not use.

    Args:
        mode: of the command.
        given: the names of the options and keys on the command line.

    Raises:
        InputError: if there is one.
    """
    known = uses()
    for name in given:
        if mode in known.get(name, (mode,)):
            continue
        also = "; name the run's checkpoint with `checkpoint`" if (mode, name) == ("eval", "resume") else ""
        modes = " and ".join(", ".join(known[name]).rsplit(", ", 1))
        raise InputError(f"`{name}`: --mode {mode} does not use it; it is for --mode {modes}{also}")


def _pads(augment: Sequence[str]) -> bool:
    """Whether a list of augmentations has a crop that pads."""
    return any(isinstance(augmentation, AutoCrop | PadCrop) for augmentation in parse(augment))


# Flags that have an effect only beside others: when, and what to say if not.
_NEEDS: dict[str, Any] = {
    "tta_views": (lambda c: c.run.tta, "`tta`"),
    "compile_mode": (
        lambda c: (
            c.run.compiled
            or (c.run.compile is None and (_is_gpu(c.run.device) or c.run.compile_mode == "auto"))
            or (c.run.compile_mode == "default" and c.optim.optimizer == "muon" and _is_gpu(c.run.device))
        ),
        "`compile`",
    ),
    "patience": (lambda c: c.run.eval_every or not c.run.patience, "`eval_every` above 0"),
    "amp_dtype": (lambda c: c.run.amp, "`amp`"),
    **dict.fromkeys(
        ("muon_sgd_ratio", "muon_momentum", "muon_steps", "muon_renorm"),
        (lambda c: c.optim.optimizer == "muon", "`optimizer=muon`"),
    ),
    "cooldown": (lambda c: c.optim.schedule == "trapezoid", "`schedule=trapezoid`"),
    **dict.fromkeys(
        ("anneal", "final_div_factor", "cycle_momentum"),
        (lambda c: c.optim.schedule == "onecycle", "`schedule=onecycle`"),
    ),
    **dict.fromkeys(("mix_prob", "mix_until"), (lambda c: c.mix.mixup or c.mix.cutmix, "`mixup` or `cutmix`")),
    "padding": (lambda c: _pads(c.loader.augment), "`crop=pad` or `crop=auto`"),
    "decode": (lambda c: c.loader.engine != "torch" and _is_gpu(c.run.device), "`engine=dali` on a GPU"),
    **dict.fromkeys(("shuffle_block", "shuffle_group"), (lambda c: c.loader.shuffle == "blocks", "`shuffle=blocks`")),
}


def _is_gpu(device: str) -> bool:
    return torch.cuda.is_available() if device == "auto" else device != "cpu"


def check_effect(config: Config, flags: Mapping[str, Any]) -> None:
    """Refuses flags that were given and change nothing beside the other settings.

    Args:
        config: what recipe, flags and checkpoint come to.
        flags: those that were given.

    Raises:
        InputError: if there is one.
    """
    values = given_values(flags)
    for name in ("momentum", "muon_momentum"):
        if config.optim.cycle_momentum and name in values:
            raise InputError(
                f"`{name}={values[name]}`: has no effect beside `cycle_momentum`, which sets it at each step"
            )
    for name, value in values.items():
        has_effect, needed = _NEEDS.get(name, (lambda _: True, ""))
        if not has_effect(config):
            raise InputError(f"`{name}={value}`: has no effect without {needed}")
    peak = config.optim.peak_epoch
    if "pct_start" in values and peak is not None:
        raise InputError(
            f"`pct_start={values['pct_start']}`: has no effect beside `peak_epoch={peak:g}`"
            + ("" if "peak_epoch" in values else f", which recipe {config.recipe} has; give `peak_epoch` instead")
        )
