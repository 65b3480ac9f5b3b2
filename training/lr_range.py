"""The LR range test: how high can the learning rate be?

Smith, "Cyclical learning rates for training neural networks", WACV 2017: train while the learning rate grows at each
step, and watch the loss.
"""

import copy
import math
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from feedline.pipeline.errors import InputError
from feedline.pipeline.loader import Batch
from feedline.progress import Progress
from feedline.training.config import Config
from feedline.training.lr_curve import BLEW_UP, RECOMMENDED, no_recommendation, none_below, smoothed_over, suggest
from feedline.training.ranks import ALONE, Ranks
from feedline.training.step import TrainStep

GAMMA = 1.069  # the assignment's factor (StepLR with step_size 1)
STEPS = 100  # of a test, at least: on small sets over several passes
BLOW_UP_FACTOR = 1.5  # the test ends when the loss exceeds that of the first steps by this factor


@dataclass(frozen=True)
class LRRange:
    """The curve and the learning rates that it suggests.

    Attributes:
        lr, loss, smoothed: one value per step.
        suggestions: `scaled` (35 times the valley, at most the last rate, or a third of it if the loss blew up there),
            `minimum` (lowest smoothed loss: the assignment's rule), `steepest` (fastest fall in the decade below that)
            and `valley` (middle of the longest fall); none where the curve gives none.
        recommended: the suggestion to use; None if there is none.
        reason: why none is recommended, and what to do.
        stopped: why the test ended.
    """

    lr: list[float]
    loss: list[float]
    smoothed: list[float]
    suggestions: dict[str, float]
    recommended: str | None
    stopped: str
    reason: str | None = None


@contextmanager
def unchanged(model: nn.Module, *others: Any) -> Iterator[None]:
    """On exit restores all weights, buffers, gradients, modes and random states, and the state of other objects.

    Args:
        model: any module.
        others: objects with `state_dict` and `load_state_dict`: optimizers, schedulers, scalers.
    """
    tensors = {name: t.detach().clone() for name, t in (*model.named_parameters(), *model.named_buffers())}
    grads = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    modes = [(module, module.training) for module in model.modules()]
    states = [(other, copy.deepcopy(other.state_dict())) for other in others]
    generators = (random.getstate(), np.random.get_state(), torch.get_rng_state())  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        with torch.no_grad():
            for name, tensor in (*model.named_parameters(), *model.named_buffers()):
                tensor.copy_(tensors[name])
        for name, parameter in model.named_parameters():
            parameter.grad = grads[name]
        for module, mode in modes:
            module.training = mode
        for other, state in states:
            other.load_state_dict(state)
        random.setstate(generators[0])
        np.random.set_state(generators[1])  # noqa: NPY002
        torch.set_rng_state(generators[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


@dataclass(frozen=True)
class Sweep:
    """The learning rates of a test: `steps` of them, from `start`, each `factor` times the one before."""

    start: float
    factor: float
    steps: int

    @classmethod
    def plan(cls, batches: int, *, start: float, end: float, fewest: int = STEPS) -> "Sweep":
        """A sweep from `start` to `end`: with a factor of 1.069 if an epoch has enough batches, else with a larger one.

        Args:
            batches: in an epoch.
            start, end: the first and the last learning rate.
            fewest: steps at least, over several epochs if need be.

        Raises:
            InputError: if `start` is not between 0 and `end`.
        """
        if not 0 < start < end:
            raise InputError(f"`start_lr={start:g}`: must be above 0 and below `end_lr={end:g}`")
        needed = math.floor(math.log(end / start) / math.log(GAMMA) + 1e-9) + 1  # no rate is above the end
        steps = max(batches, fewest)
        if steps >= needed:
            return cls(start, GAMMA, needed)
        return cls(start, (end / start) ** (1 / max(steps - 1, 1)), steps)


def lr_range_test(
    config: Config,
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    sweep: Sweep,
    ranks: Ranks = ALONE,
    class_weights: torch.Tensor | None = None,
    usual_end: float = 0.0,
) -> LRRange:
    """Runs the test. The model is unchanged afterwards.

    Args:
        config: optimizer, loss and precision, as in training.
        model: moved to the device.
        batches: of one epoch or several; the test ends after the last one at the latest.
        device: the batches' device.
        sweep: the learning rates.
        ranks: the processes that take part; all get the same losses.
        class_weights: of the classes in the loss, as in training.
        usual_end: the last rate of a test with this optimizer; one that ends below it may have been cut short.

    Raises:
        InputError: if the loss is not finite from the first step on.
    """
    lrs: list[float] = []
    losses: list[float] = []
    average, stopped = 0.0, "all steps were done"
    progress = Progress(sweep.steps, 0, "LR range test", quiet=not ranks.is_first)
    with unchanged(model):
        step = TrainStep(config, model.train(), device, sweep.start, ranks, class_weights)
        groups = step.optimizer.param_groups
        for _, (images, labels) in zip(range(sweep.steps), batches, strict=False):
            loss, _ = step(images, labels)
            # The loss decides whether to continue, so this loop, unlike all others, waits for the device at every step.
            value = ranks.all_reduce(loss.clone()).item() / ranks.world_size
            average = 0.8 * average + 0.2 * value if losses else value
            if not math.isfinite(value) or average > BLOW_UP_FACTOR * np.mean(losses[:5] or value):
                stopped = f"{BLEW_UP} ({value:.3g} at LR {groups[0]['lr']:.3g})"
                break
            lrs.append(float(groups[0]["lr"]))
            losses.append(value)
            for group in groups:
                group["lr"] *= sweep.factor
            progress.step()
            progress.show(f"LR {lrs[-1]:.2e}  loss {value:.3f}")
    progress.close()
    if not lrs:
        raise InputError(f"LR range test: {stopped} at the first step; lower `start_lr`, or check the images")
    smoothed = smoothed_over(losses, sweep.steps)
    reason = no_recommendation(losses, smoothed, sweep.steps, stopped, low=lrs[-1] < usual_end / 2)
    if reason is None and BLEW_UP not in stopped:
        reason = none_below(lrs, smoothed, usual_end)
    if reason is not None:
        return LRRange(lrs, losses, smoothed, {}, None, stopped, reason)
    return LRRange(lrs, losses, smoothed, suggest(lrs, smoothed, blew_up=BLEW_UP in stopped), RECOMMENDED, stopped)
